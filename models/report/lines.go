package report

import (
	"fmt"
	"html/template"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/credence-ml/credence/models/metrics"
)

// Series is a curve through points. Class chooses its colour.
type Series struct {
	Name  string
	Class int
	X, Y  []float64
}

// Lines draws curves over common axes: training histories, something against a parameter.
type Lines struct {
	Title, Caption, XLabel, YLabel string
	Series                         []Series
	FromZero                       bool // let both axes contain 0
}

// HTML implements Block.
func (l Lines) HTML() (template.HTML, error) {
	p := newPlot(l.XLabel, l.YLabel)
	addGrid(p)
	var keys []key
	for _, s := range l.Series {
		if len(s.X) != len(s.Y) {
			return "", fmt.Errorf("lines %s: %q has %d x and %d y", l.Title, s.Name, len(s.X), len(s.Y))
		}
		if err := checkFinite("lines "+l.Title, s.Name, append(append([]float64{}, s.X...), s.Y...)); err != nil {
			return "", err
		}
		if len(s.X) == 0 {
			continue
		}
		keys = append(keys, key{s.Name, classInk(s.Class, 1), true})
		curve := make(plotter.XYs, len(s.X))
		for i := range curve {
			curve[i] = plotter.XY{X: s.X[i], Y: s.Y[i]}
		}
		curve = thin(curve, chartWidth)
		p.Add(line(curve, classInk(s.Class, 1), vg.Points(1.8)))
		if len(curve) <= 30 {
			p.Add(dots(curve, classInk(s.Class, 1), 4.5))
		}
	}
	if keys == nil {
		return noData(l.Title, l.Caption)
	}
	if l.FromZero {
		p.X.Min, p.X.Max = min(0, p.X.Min), max(0, p.X.Max)
		p.Y.Min, p.Y.Max = min(0, p.Y.Min), max(0, p.Y.Max)
	}
	if p.Y.Min == p.Y.Max {
		p.Y.Min, p.Y.Max = padRange(p.Y.Min, p.Y.Max, 0)
	}
	return figure(l.Title, l.Caption, keys, drawn(p))
}

// thin keeps at most n points, evenly chosen, and always the last.
func thin(curve plotter.XYs, n int) plotter.XYs {
	if len(curve) <= n {
		return curve
	}
	kept := make(plotter.XYs, n)
	for i := range kept {
		kept[i] = curve[i*(len(curve)-1)/(n-1)]
	}
	return kept
}

// RiskCoverage draws how often the answers are wrong if only the most confident are given, for one or more measures of
// confidence.
type RiskCoverage struct {
	Title, Caption string
	Curves         []RiskCurve
}

// RiskCurve is the curve of one measure of confidence.
type RiskCurve struct {
	Name   string
	Class  int
	Points []metrics.CoveragePoint
}

// HTML implements Block.
func (r RiskCoverage) HTML() (template.HTML, error) {
	l := Lines{Title: r.Title, Caption: r.Caption, XLabel: "coverage: answered, in %", YLabel: "risk: wrong among them, in %", FromZero: true}
	for _, c := range r.Curves {
		s := Series{Name: c.Name, Class: c.Class}
		for _, p := range c.Points {
			s.X, s.Y = append(s.X, 100*p.Coverage), append(s.Y, 100*p.Risk)
		}
		l.Series = append(l.Series, s)
	}
	return l.HTML()
}

// Reliability draws the accuracy in bins of confidence with 95 % intervals (Wilson), its gap to the confidence, and
// below it how many examples the bins have.
type Reliability struct {
	Title, Caption string
	Bins           []metrics.Bin
}

// HTML implements Block.
func (r Reliability) HTML() (template.HTML, error) {
	total := 0
	for _, b := range r.Bins {
		if !finite(b.Accuracy) || !finite(b.Confidence) || b.Count < 0 {
			return "", fmt.Errorf("reliability %s: the bin from %v to %v is %+v", r.Title, b.Low, b.High, b)
		}
		total += b.Count
	}
	if total == 0 {
		return noData(r.Title, r.Caption)
	}
	upper, lower := newPlot("", "accuracy"), newPlot("confidence", "share in %")
	addGrid(upper)
	addGrid(lower)
	for _, b := range r.Bins {
		if b.Count == 0 {
			continue
		}
		gap := (b.High - b.Low) * .06
		upper.Add(rectangle(b.Low+gap, 0, b.High-gap, b.Accuracy, classInk(0, .85)),
			rectangle(b.Low+gap, b.Accuracy, b.High-gap, b.Confidence, ink{"bad", .3}))
		interval, err := metrics.Wilson(int(math.Round(b.Accuracy*float64(b.Count))), b.Count, .95)
		if err != nil {
			return "", err
		}
		middle := (b.Low + b.High) / 2
		upper.Add(line(plotter.XYs{{X: middle, Y: interval.Low}, {X: middle, Y: interval.High}}, plainInk("ink"), vg.Points(1)))
		lower.Add(rectangle(b.Low+gap, 0, b.High-gap, 100*float64(b.Count)/float64(total), classInk(0, .45)))
	}
	upper.Add(line(plotter.XYs{{X: 0, Y: 0}, {X: 1, Y: 1}}, plainInk("muted"), vg.Points(1), 4, 3))
	upper.Y.Min, upper.Y.Max, lower.Y.Min = 0, 1, 0
	upper.X.Min, upper.X.Max, lower.X.Min, lower.X.Max = 0, 1, 0, 1
	upper.X.Tick.Marker = plot.ConstantTicks(nil) // those of the lower one serve both
	lower.Y.Max, lower.Y.Tick.Marker = lower.Y.Max*1.15, ticks(2)
	c := newCanvas(chartWidth, chartHeight+80)
	whole := draw.Crop(draw.New(c), 2, -8, 2, -6)
	// Both begin and end where the wider numbers need it.
	left, right := margins(upper, whole)
	lowerLeft, lowerRight := margins(lower, whole)
	widest, last := max(left, lowerLeft), max(right, lowerRight)
	const below = 88
	upper.Draw(draw.Crop(whole, widest-left, right-last, below, 0))
	lower.Draw(draw.Crop(whole, widest-lowerLeft, lowerRight-last, 0, whole.Min.Y+below-14-whole.Max.Y))
	keys := []key{{"accuracy", classInk(0, 1), false}, {"gap to confidence", plainInk("bad"), false}}
	return figure(r.Title, r.Caption, keys, c)
}
