package ops

import "math"

// square is a small float64 matrix, for the references and bounds of the factorisations.
type square struct {
	a []float64
	d int
}

func newSquare(d int) square { return square{make([]float64, d*d), d} }

// matrix is matrix b of a batch [B, D, D], sharing its memory.
func matrix(x *Dense, b int) square {
	d := x.Dim(1)
	return square{x.Data[b*d*d : (b+1)*d*d], d}
}

func (m square) at(i, j int) float64 { return m.a[i*m.d+j] }

func (m square) each(f func(i, j int) float64) square {
	r := newSquare(m.d)
	for i := range m.d {
		for j := range m.d {
			r.a[i*m.d+j] = f(i, j)
		}
	}
	return r
}

func (m square) abs() square {
	return m.each(func(i, j int) float64 { return math.Abs(m.at(i, j)) })
}

func (m square) transposed() square {
	return m.each(func(i, j int) float64 { return m.at(j, i) })
}

func (m square) scaled(f float64) square {
	return m.each(func(i, j int) float64 { return f * m.at(i, j) })
}

func (m square) plus(n square) square {
	return m.each(func(i, j int) float64 { return m.at(i, j) + n.at(i, j) })
}

func (m square) symmetric() square {
	return m.each(func(i, j int) float64 { return (m.at(i, j) + m.at(j, i)) / 2 })
}

// lower is the lower triangle with the diagonal; what lies above is not read.
func (m square) lower() square {
	return m.each(func(i, j int) float64 {
		if j > i {
			return 0
		}
		return m.at(i, j)
	})
}

// phi is the lower triangle with half of the diagonal.
func (m square) phi() square {
	r := m.lower()
	for i := range r.d {
		r.a[i*r.d+i] /= 2
	}
	return r
}

// times leaves out products with a zero of m, so that triangular matrices stay cheap.
func (m square) times(n square) square {
	r := newSquare(m.d)
	for i := range m.d {
		row := r.a[i*m.d : (i+1)*m.d]
		for k := range m.d {
			if f := m.at(i, k); f != 0 {
				for j, v := range n.a[k*m.d : (k+1)*m.d] {
					row[j] += f * v
				}
			}
		}
	}
	return r
}

// inverse is that of the lower triangle.
func (m square) inverse() square {
	r := newSquare(m.d)
	for i := range m.d {
		row := r.a[i*m.d : (i+1)*m.d]
		row[i] = 1
		for k := range i {
			f := m.at(i, k)
			for j, v := range r.a[k*m.d : k*m.d+k+1] {
				row[j] -= f * v
			}
		}
		for j := range i + 1 {
			row[j] /= m.at(i, i)
		}
	}
	return r
}

// eachSquareBound makes the bound of an op with one output [B, D, D] from that of each matrix.
func eachSquareBound(f func(c *RefCall, b int) square) func(*RefCall, float64) [][]float64 {
	return func(c *RefCall, _ float64) [][]float64 {
		r := make([]float64, 0, c.Out[0].Len())
		for b := range c.Out[0].Dim(0) {
			r = append(r, f(c, b).a...)
		}
		return [][]float64{r}
	}
}
