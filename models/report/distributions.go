package report

import (
	"fmt"
	"html/template"
	"math"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/credence-ml/credence/models/metrics"
)

// Sample is a named set of numbers. Class chooses its colour.
type Sample struct {
	Name   string
	Class  int
	Values []float64
}

func checkSamples(what string, samples []Sample) (low, high float64, err error) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, s := range samples {
		if err := checkFinite(what, s.Name, s.Values); err != nil {
			return 0, 0, err
		}
		for _, v := range s.Values {
			low, high = min(low, v), max(high, v)
		}
	}
	return low, high, nil
}

func checkMarks(what string, marks []Mark) error {
	for _, m := range marks {
		if !finite(m.X) {
			return fmt.Errorf("%s: the mark %q is at %v", what, m.Label, m.X)
		}
	}
	return nil
}

// Densities draws the densities of samples (see metrics.KDE) over one axis, each with the same area.
type Densities struct {
	Title, Caption, XLabel string
	Samples                []Sample
	Marks                  []Mark
}

// HTML implements Block.
func (d Densities) HTML() (template.HTML, error) {
	low, high, err := checkSamples("densities "+d.Title, d.Samples)
	if err == nil {
		err = checkMarks("densities "+d.Title, d.Marks)
	}
	if err != nil {
		return "", err
	}
	if low > high {
		return noData(d.Title, d.Caption)
	}
	p := newPlot(d.XLabel, "density")
	hideScale(&p.Y)
	var keys []key
	var lines []painter
	const points = 240
	for _, s := range d.Samples {
		if len(s.Values) == 0 {
			continue
		}
		keys = append(keys, key{s.Name, classInk(s.Class, 1), false})
		k, err := metrics.NewKDE(s.Values)
		if err != nil {
			return "", err
		}
		h := k.Bandwidth()
		if h == 0 { // a point mass has no curve, but a place
			lines = append(lines, vertical(s.Values[0], classInk(s.Class, 1), vg.Points(1.6)))
			continue
		}
		from, till := s.Values[0], s.Values[0]
		for _, v := range s.Values {
			from, till = min(from, v), max(till, v)
		}
		from, till = from-3*h, till+3*h
		var y [points]float64
		step := (till - from) / (points - 1)
		k.Density(y[:], from, step)
		curve := make(plotter.XYs, points)
		for i, v := range y {
			curve[i] = plotter.XY{X: from + float64(i)*step, Y: v}
		}
		p.Add(area(curve, classInk(s.Class, .22)))
		lines = append(lines, line(curve, classInk(s.Class, 1), vg.Points(1.6)))
	}
	for _, l := range lines {
		p.Add(l)
	}
	p.Y.Min = 0
	if p.Y.Max <= 0 {
		p.Y.Max = 1
	}
	p.Y.Max *= 1.05
	addMarks(p, d.Marks)
	p.X.Min, p.X.Max = padRange(p.X.Min, p.X.Max, .01)
	return figure(d.Title, d.Caption, keys, drawn(p))
}

// Histogram draws the shares of samples in common bins over one axis, so that sets of different sizes compare.
type Histogram struct {
	Title, Caption, XLabel string
	Samples                []Sample
	Bins                   int // 40 if 0
	Marks                  []Mark
}

// HTML implements Block.
func (h Histogram) HTML() (template.HTML, error) {
	low, high, err := checkSamples("histogram "+h.Title, h.Samples)
	if err == nil {
		err = checkMarks("histogram "+h.Title, h.Marks)
	}
	if err != nil {
		return "", err
	}
	if low > high {
		return noData(h.Title, h.Caption)
	}
	if low == high {
		low, high = padRange(low, high, 0)
	}
	bins := h.Bins
	if bins <= 0 {
		bins = 40
	}
	p := newPlot(h.XLabel, "share in %")
	addGrid(p)
	var keys []key
	for _, s := range h.Samples {
		if len(s.Values) == 0 {
			continue
		}
		keys = append(keys, key{s.Name, classInk(s.Class, 1), false})
		shares := make([]float64, bins)
		for _, v := range s.Values {
			b := int((v - low) / (high - low) * float64(bins))
			shares[min(max(b, 0), bins-1)] += 100 / float64(len(s.Values))
		}
		outline := plotter.XYs{{X: low}}
		for b, share := range shares {
			left, right := low+(high-low)*float64(b)/float64(bins), low+(high-low)*float64(b+1)/float64(bins)
			outline = append(outline, plotter.XY{X: left, Y: share}, plotter.XY{X: right, Y: share})
		}
		outline = append(outline, plotter.XY{X: high})
		p.Add(area(outline, classInk(s.Class, .28)), line(outline, classInk(s.Class, 1), vg.Points(1.2)))
	}
	addMarks(p, h.Marks)
	p.Y.Min, p.Y.Max = 0, p.Y.Max*1.05
	p.X.Min, p.X.Max = padRange(p.X.Min, p.X.Max, .01)
	return figure(h.Title, h.Caption, keys, drawn(p))
}
