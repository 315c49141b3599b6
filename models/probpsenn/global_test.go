package probpsenn

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"
)

func TestReport(t *testing.T) {
	for _, kind := range PrototypeKinds {
		t.Run(string(kind), func(t *testing.T) {
			images, test := strokes(150, 1), strokes(90, 5)
			m := trained(t, strokesConfig(kind), images)
			last := 0
			r, err := m.Report(t.Context(), ReportOptions{Data: test, Source: "strokes", Training: images, Pictures: 3, Inputs: 4,
				Progress: func(done, total int) { last = done; assert.Equal(t, 90, total) }})
			require.NoError(t, err)
			assert.Equal(t, 90, last)
			e, err := m.Evaluate(t.Context(), test, nil, nil)
			require.NoError(t, err)
			assert.Equal(t, *e, r.Evaluation)

			n, wrong, counted := 0, 0, 0
			for _, v := range r.Verdicts {
				n, wrong = n+v.N, wrong+v.Wrong
				assert.LessOrEqual(t, len(v.Inputs), 4)
				assert.Equal(t, min(v.N, 4), len(v.Inputs))
			}
			assert.Equal(t, 90, n)
			for i, row := range r.Confusion {
				for j, v := range row {
					if counted += v; i != j {
						wrong -= v
					}
				}
			}
			assert.Equal(t, 90, counted)
			assert.Zero(t, wrong, "the errors of the verdicts are those of the confusion matrix")
			assert.InDelta(t, 1-r.Evaluation.Accuracy, r.RiskCoverage[len(r.RiskCoverage)-1].Risk, 1e-12)

			require.Len(t, r.Prototypes, 3)
			for _, p := range r.Prototypes {
				sum := 0.0
				for _, v := range p.TakenFor {
					sum += v
				}
				assert.InDelta(t, 1, sum, 1e-9)
				assert.Len(t, p.Examples, 4)
				if kind == Point {
					assert.Nil(t, p.Trace)
					assert.Empty(t, p.Samples)
					continue
				}
				assert.Len(t, p.Samples, 3)
				assert.Positive(t, *p.Trace)
				assert.True(t, *p.EffectiveDimension >= 1 && *p.EffectiveDimension <= 4.000001)
			}
			assert.Equal(t, kind == Point, r.Spread.Bhattacharyya == nil)
			assert.GreaterOrEqual(t, r.Scatter.Explained[0], r.Scatter.Explained[1])
			x, y, xy := 0.0, 0.0, 0.0
			for _, p := range r.Scatter.Points {
				x, y, xy = x+p.X, y+p.Y, xy+p.X*p.Y
			}
			assert.InDeltaSlice(t, []float64{0, 0, 0}, []float64{x / 90, y / 90, xy / 90}, 1e-6, "components are centred and uncorrelated")

			var page bytes.Buffer
			require.NoError(t, r.Page().Write(&page))
			assert.False(t, strings.Contains(visible(page.String()), "NaN"))
			assert.Less(t, page.Len(), 300_000)
			_, err = json.Marshal(r)
			require.NoError(t, err)

			m.Calibration = nil
			r, err = m.Report(t.Context(), ReportOptions{Data: test})
			require.NoError(t, err)
			assert.Empty(t, r.Verdicts)
			assert.Contains(t, r.Notes[0], "not calibrated")
			require.NoError(t, r.Page().Write(&bytes.Buffer{}))
		})
	}
}

// One dimension by hand: equal variances give delta^2 / (8 s^2), equal means log((a^2 + b^2) / (2 a b)) / 2.
func TestBhattacharyya(t *testing.T) {
	gaussian := func(mean, deviation float64) *classGaussian {
		return &classGaussian{mean: []float64{mean}, cov: mat.NewSymDense(1, []float64{deviation * deviation}), logDet: 2 * math.Log(deviation)}
	}
	assert.InDelta(t, 9./(8*4), bhattacharyya(gaussian(1, 2), gaussian(4, 2)), 1e-7)
	assert.InDelta(t, math.Log(10./6)/2, bhattacharyya(gaussian(1, 1), gaussian(1, 3)), 1e-7)
	assert.InDelta(t, 0, bhattacharyya(gaussian(1, 2), gaussian(1, 2)), 1e-7)
}

func TestSpreadOf(t *testing.T) {
	trace, logDet, effective := spreadOf(mat.NewSymDense(3, []float64{2, 0, 0, 0, 2, 0, 0, 0, 0}))
	assert.Equal(t, 4., trace)
	assert.InDelta(t, 2, effective, 1e-12)
	assert.Less(t, logDet, -600., "singular")
}

func TestCollapseIsFound(t *testing.T) {
	one, tinyTrace := 1., 1e-6
	r := &ModelReport{Model: ModelSummary{PerClass: 1, Latent: 3, ClassNames: []string{"a", "b", "c"}},
		Prototypes: []PrototypeReport{{Name: "a", Trace: &one, TakenFor: []float64{1, 0, 0}}, {Name: "b", Class: 1, Trace: &tinyTrace, TakenFor: []float64{0, 1, 0}},
			{Name: "c", Class: 2, Trace: &one, TakenFor: []float64{.5, 0, .5}}},
		Spread: SpreadReport{DeadDimensions: []int{0, 2}, Bhattacharyya: [][]float64{{0, 5, .1}, {5, 0, 5}, {.1, 5, 0}}}}
	assert.Equal(t, []string{
		"The prototype of b has shrunk to a point: its variance of 1e-06 is less than 1 % of the median of all, 1.",
		"The prototype of c reaches into other classes: the model takes only 50 % of its samples for c.",
		"a and c have nearly the same distribution: overlap 0.90.",
		"2 of 3 latent dimensions are dead: 0 2."}, r.collapse())
}
