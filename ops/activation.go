package ops

import (
	"fmt"
	"math"
)

// ActivationKind names an activation function. Numbers are those of credence_ops.h.
type ActivationKind int64

// The activation functions; P is the parameter of Activation.
const (
	ActNone        ActivationKind = 0
	ActReLU        ActivationKind = 1  // max(x, 0)
	ActFATReLU     ActivationKind = 2  // x where x >= P, else 0; P >= 0
	ActShiftedReLU ActivationKind = 3  // max(x - P, 0)
	ActLeakyReLU   ActivationKind = 4  // x where x > 0, else P x
	ActGELU        ActivationKind = 5  // x Phi(x), with the exact normal distribution function
	ActSiLU        ActivationKind = 6  // x sigmoid(x)
	ActTanh        ActivationKind = 7  //
	ActSigmoid     ActivationKind = 8  //
	ActSoftplus    ActivationKind = 9  // log(1 + e^x)
	ActReLUSquared ActivationKind = 10 // max(x, 0)^2
)

var activationNames = [...]string{"none", "relu", "fatrelu", "shifted_relu", "leaky_relu", "gelu", "silu", "tanh",
	"sigmoid", "softplus", "relu_squared"}

// String is the name in lower case, for example "leaky_relu".
func (k ActivationKind) String() string {
	if k >= 0 && int(k) < len(activationNames) {
		return activationNames[k]
	}
	return fmt.Sprintf("activation(%d)", int64(k))
}

// hasParameter reports whether P matters.
func (k ActivationKind) hasParameter() bool {
	return k == ActFATReLU || k == ActShiftedReLU || k == ActLeakyReLU
}

// An Activation is a function applied to every element. The zero value is the identity. P is held as a float32.
type Activation struct {
	Kind ActivationKind
	P    float64
}

// String is for example "relu" or "leaky_relu(0.1)".
func (a Activation) String() string {
	if a.Kind.hasParameter() {
		return fmt.Sprintf("%v(%g)", a.Kind, a.P)
	}
	return a.Kind.String()
}

// Check reports an unknown kind or a parameter outside its range.
func (a Activation) Check() error {
	switch {
	case a.Kind < ActNone || a.Kind > ActReLUSquared:
		return fmt.Errorf("unknown activation %d; %v to %v are known", int64(a.Kind), ActNone, ActReLUSquared)
	case math.IsNaN(a.P) || math.Abs(a.P) > math.MaxFloat32:
		return fmt.Errorf("parameter %g of %v is not a float32 number", a.P, a.Kind)
	case a.Kind == ActFATReLU && a.P < 0:
		return fmt.Errorf("threshold %g of fatrelu is negative", a.P)
	}
	return nil
}

// GradFromOutput reports whether the derivative can be had from the function's own output, without its input.
func (a Activation) GradFromOutput() bool {
	return a.Kind != ActGELU && a.Kind != ActSiLU && (a.Kind != ActLeakyReLU || a.P >= 0)
}

// attributes are a's place in an operation: one integer and one scalar.
func (a Activation) attributes() (Int, Float) { return N(int64(a.Kind)), V(a.P) }

// activationAttributes is the reverse of attributes, for shape rules: it also checks them.
func activationAttributes(kind Int, p Float) (Activation, error) {
	if !kind.Const() || p.Arg != 0 {
		return Activation{}, fmt.Errorf("the activation depends on an argument; it must be constant")
	}
	a := Activation{ActivationKind(kind.N), p.V}
	return a, a.Check()
}

func (a Activation) p() float64 { return float64(float32(a.P)) }

// Apply is the function's value. NaN gives NaN; -Inf and Inf give the limits.
func (a Activation) Apply(x float64) float64 {
	if math.IsNaN(x) {
		return x
	}
	switch a.Kind {
	case ActReLU:
		return math.Max(x, 0)
	case ActFATReLU:
		if x < a.p() {
			return 0
		}
	case ActShiftedReLU:
		return math.Max(x-a.p(), 0)
	case ActLeakyReLU:
		if x <= 0 {
			return a.p() * x
		}
	case ActGELU:
		if math.IsInf(x, -1) {
			return 0
		}
		return x * normalCDF(x)
	case ActSiLU:
		if math.IsInf(x, -1) {
			return 0
		}
		return x * sigmoid(x)
	case ActTanh:
		return math.Tanh(x)
	case ActSigmoid:
		return sigmoid(x)
	case ActSoftplus:
		return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x)))
	case ActReLUSquared:
		r := math.Max(x, 0)
		return r * r
	}
	return x
}

// Derivative is the function's derivative. At a kink it is that of the left, and for FATReLU's jump that of the right;
// for functions that are linear in pieces NaN counts as not positive, for the others it gives NaN.
func (a Activation) Derivative(x float64) float64 {
	switch a.Kind {
	case ActReLU:
		return indicator(x > 0)
	case ActFATReLU:
		return indicator(x > 0 && x >= a.p())
	case ActShiftedReLU:
		return indicator(x > a.p())
	case ActLeakyReLU:
		if x > 0 {
			return 1
		}
		return a.p()
	case ActGELU:
		if math.IsInf(x, 0) {
			return indicator(x > 0)
		}
		return normalCDF(x) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
	case ActSiLU:
		if math.IsInf(x, 0) {
			return indicator(x > 0)
		}
		return sigmoid(x) * (1 + x*sigmoid(-x))
	case ActTanh:
		c := math.Cosh(x)
		return 1 / (c * c)
	case ActSigmoid:
		return sigmoid(x) * sigmoid(-x)
	case ActSoftplus:
		return sigmoid(x)
	case ActReLUSquared:
		if x > 0 {
			return 2 * x
		}
		return 0
	}
	return 1
}

// derivativeFromOutput is the derivative where the function's value is y.
func (a Activation) derivativeFromOutput(y float64) float64 {
	switch a.Kind {
	case ActReLU, ActFATReLU, ActShiftedReLU:
		return indicator(y > 0)
	case ActLeakyReLU:
		if y > 0 {
			return 1
		}
		return a.p()
	case ActTanh:
		return (1 - y) * (1 + y)
	case ActSigmoid:
		return y * (1 - y)
	case ActSoftplus:
		return -math.Expm1(-y)
	case ActReLUSquared:
		if y > 0 {
			return 2 * math.Sqrt(y)
		}
		return 0
	}
	return 1
}

// chain is dy times the derivative d; where a function that is linear in pieces is flat, it is 0 whatever dy is.
func (a Activation) chain(d, dy float64) float64 {
	if d == 0 && a.flat() {
		return 0
	}
	return dy * d
}

// flat reports whether the function is exactly constant somewhere.
func (a Activation) flat() bool {
	switch a.Kind {
	case ActReLU, ActFATReLU, ActShiftedReLU, ActReLUSquared:
		return true
	}
	return false
}

func sigmoid(x float64) float64 {
	if x >= 0 {
		return 1 / (1 + math.Exp(-x))
	}
	e := math.Exp(x)
	return e / (1 + e)
}

// normalCDF is the standard normal distribution function Phi.
func normalCDF(x float64) float64 { return .5 * math.Erfc(-x/math.Sqrt2) }

// Activate applies a to every element of x.
func Activate(x Tensor, a Activation) Tensor {
	if a.Kind == ActNone {
		return x
	}
	kind, p := a.attributes()
	return record(OpActivation, x.g, []Tensor{x}, nil, []Int{kind}, []Float{p})[0]
}

// ActivationGrad is dy times a's derivative at x.
func ActivationGrad(x, dy Tensor, a Activation) Tensor {
	if a.Kind == ActNone {
		return dy
	}
	kind, p := a.attributes()
	return record(OpActivationGrad, graphOf(x, dy), []Tensor{x, dy}, nil, []Int{kind}, []Float{p})[0]
}

// ActivationGradFromOutput is dy times a's derivative where its output is y, for activations that allow it
// (Activation.GradFromOutput): the input need not be kept.
func ActivationGradFromOutput(y, dy Tensor, a Activation) Tensor {
	if a.Kind == ActNone {
		return dy
	}
	kind, p := a.attributes()
	return record(OpActivationGradFromOutput, graphOf(y, dy), []Tensor{y, dy}, nil, []Int{kind}, []Float{p})[0]
}
