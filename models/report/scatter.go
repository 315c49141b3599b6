package report

import (
	"fmt"
	"html/template"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Scatter draws groups of points in the plane, with the Gaussian of each group as ellipses at one and two standard
// deviations, and single points of interest.
type Scatter struct {
	Title, Caption, XLabel, YLabel string
	Groups                         []Group
	Highlights                     []Highlight
}

// Group is a class's points and, if Covariance is given, its Gaussian.
type Group struct {
	Name       string
	Class      int
	X, Y       []float64
	Mean       [2]float64
	Covariance *[2][2]float64
}

// Highlight is a point with a label, such as the input in question.
type Highlight struct {
	X, Y  float64
	Label string
}

// HTML implements Block.
func (s Scatter) HTML() (template.HTML, error) {
	p := newPlot(s.XLabel, s.YLabel)
	var keys []key
	var above []painter
	for _, g := range s.Groups {
		if len(g.X) != len(g.Y) {
			return "", fmt.Errorf("scatter %s: %q has %d x and %d y", s.Title, g.Name, len(g.X), len(g.Y))
		}
		if err := checkFinite("scatter "+s.Title, g.Name, append(append([]float64{}, g.X...), g.Y...)); err != nil {
			return "", err
		}
		keys = append(keys, key{g.Name, classInk(g.Class, 1), false})
		points := make(plotter.XYs, len(g.X))
		for i := range points {
			points[i] = plotter.XY{X: g.X[i], Y: g.Y[i]}
		}
		if len(points) > 0 {
			p.Add(dots(points, classInk(g.Class, .45), 2.6))
		}
		if g.Covariance == nil {
			continue
		}
		c := *g.Covariance
		if err := checkFinite("scatter "+s.Title, g.Name, []float64{g.Mean[0], g.Mean[1], c[0][0], c[0][1], c[1][0], c[1][1]}); err != nil {
			return "", err
		}
		above = append(above, ellipse(g.Mean, c, 2, classInk(g.Class, .75), 1), ellipse(g.Mean, c, 1, classInk(g.Class, 1), 1.8),
			cross(g.Mean[0], g.Mean[1], classInk(g.Class, 1)))
	}
	for _, h := range s.Highlights {
		if err := checkFinite("scatter "+s.Title, h.Label, []float64{h.X, h.Y}); err != nil {
			return "", err
		}
		above = append(above, highlight(h))
	}
	for _, a := range above {
		p.Add(a)
	}
	if p.X.Min > p.X.Max {
		return noData(s.Title, s.Caption)
	}
	p.X.Min, p.X.Max = padRange(p.X.Min, p.X.Max, .03)
	p.Y.Min, p.Y.Max = padRange(p.Y.Min, p.Y.Max, .03)
	c := newCanvas(chartWidth, chartHeight+90)
	p.Draw(draw.Crop(draw.New(c), 2, -8, 2, -6))
	return figure(s.Title, s.Caption, keys, c)
}

// dots draws points, as cheaply as the canvas can.
func dots(points plotter.XYs, colour color.Color, diameter vg.Length) painter {
	xMin, xMax, yMin, yMax := plotter.XYRange(points)
	return painter{xMin, xMax, yMin, yMax, func(c draw.Canvas, x, y func(float64) vg.Length) {
		places := make([]vg.Point, len(points))
		for i, p := range points {
			places[i] = vg.Point{X: x(p.X), Y: y(p.Y)}
		}
		c.SetColor(colour)
		ours(c).Dots(places, diameter)
	}}
}

// ours is the canvas below what gonum wraps around it to crop.
func ours(c draw.Canvas) *canvas {
	for {
		switch below := c.Canvas.(type) {
		case *canvas:
			return below
		case draw.Canvas:
			c = below
		}
	}
}

// ellipse draws the points at so many standard deviations from the mean of a Gaussian: the image of a circle under the
// Cholesky factor of the covariance. Of a covariance that is not positive it draws what there is.
func ellipse(mean [2]float64, covariance [2][2]float64, deviations float64, colour color.Color, width vg.Length) painter {
	a := math.Sqrt(max(covariance[0][0], 0))
	b := 0.
	if a > 0 {
		b = (covariance[0][1] + covariance[1][0]) / 2 / a
	}
	d := math.Sqrt(max(covariance[1][1]-b*b, 0))
	at := func(u, v float64) (float64, float64) {
		return mean[0] + deviations*a*u, mean[1] + deviations*(b*u+d*v)
	}
	reachX, reachY := deviations*a, deviations*math.Hypot(b, d)
	return painter{mean[0] - reachX, mean[0] + reachX, mean[1] - reachY, mean[1] + reachY, func(c draw.Canvas, x, y func(float64) vg.Length) {
		point := func(u, v float64) vg.Point {
			px, py := at(u, v)
			return vg.Point{X: x(px), Y: y(py)}
		}
		// a circle in four cubic curves; affine maps of such curves are the curves of the mapped points
		const k = .5522847498
		var path vg.Path
		path.Move(point(1, 0))
		path.CubeTo(point(1, k), point(k, 1), point(0, 1))
		path.CubeTo(point(-k, 1), point(-1, k), point(-1, 0))
		path.CubeTo(point(-1, -k), point(-k, -1), point(0, -1))
		path.CubeTo(point(k, -1), point(1, -k), point(1, 0))
		path.Close()
		c.SetLineStyle(draw.LineStyle{Color: colour, Width: width})
		c.Stroke(path)
	}}
}

func cross(px, py float64, colour color.Color) painter {
	return painter{px, px, py, py, func(c draw.Canvas, x, y func(float64) vg.Length) {
		style := draw.LineStyle{Color: colour, Width: vg.Points(2)}
		c.StrokeLine2(style, x(px)-4, y(py), x(px)+4, y(py))
		c.StrokeLine2(style, x(px), y(py)-4, x(px), y(py)+4)
	}}
}

// highlight is a ring with a label on the side where there is room.
func highlight(h Highlight) painter {
	return painter{h.X, h.X, h.Y, h.Y, func(c draw.Canvas, x, y func(float64) vg.Length) {
		at := vg.Point{X: x(h.X), Y: y(h.Y)}
		var ring vg.Path
		ring.Move(vg.Point{X: at.X + 6, Y: at.Y})
		ring.Arc(at, 6, 0, 2*math.Pi)
		ring.Close()
		c.SetColor(plainInk("paper"))
		c.Fill(ring)
		c.SetLineStyle(draw.LineStyle{Color: plainInk("ink"), Width: vg.Points(2)})
		c.Stroke(ring)
		c.SetColor(plainInk("ink"))
		ours(c).Dots([]vg.Point{at}, 4)
		style := text.Style{Handler: plot.DefaultTextHandler, XAlign: text.XLeft, YAlign: text.YCenter}
		styleText(&style, "ink", 10)
		label, beside := clean(h.Label), vg.Points(10)
		if at.X+beside+style.Width(label) > c.Max.X {
			style.XAlign, beside = text.XRight, -beside
		}
		c.FillText(style, vg.Point{X: at.X + beside, Y: at.Y}, label)
	}}
}
