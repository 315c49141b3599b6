package report

import (
	"fmt"
	"html/template"
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// The size of a plot in points; the page scales it to the room there is.
const (
	chartWidth  = 440
	chartHeight = 250
)

// key is an entry of a legend, which stands beside the plot as text.
type key struct {
	Name string
	Ink  ink
	Line bool // a line and not an area
}

// figure is a plot with everything around it.
func figure(title, caption string, keys []key, c *canvas) (template.HTML, error) {
	return execute("figure", struct {
		Title, Caption string
		Keys           []key
		SVG            template.HTML
	}{title, caption, keys, template.HTML(c.svg(title))})
}

// noData is a plot of nothing.
func noData(title, caption string) (template.HTML, error) {
	return execute("figure", struct {
		Title, Caption string
		Keys           []key
		SVG            template.HTML
	}{title, caption, nil, `<p class="empty">no data</p>`})
}

func newPlot(xLabel, yLabel string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	p.X.Label.Text, p.Y.Label.Text = clean(xLabel), clean(yLabel)
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.LineStyle = draw.LineStyle{Color: plainInk("rule"), Width: vg.Points(.8)}
		axis.Tick.LineStyle = axis.LineStyle
		axis.Tick.Length = vg.Points(3)
		axis.Tick.Marker = ticks(5)
		axis.Padding = vg.Points(2)
		axis.Label.Padding = vg.Points(4)
		styleText(&axis.Label.TextStyle, "muted", 10)
		styleText(&axis.Tick.Label, "muted", 9)
	}
	return p
}

func styleText(s *text.Style, name string, size vg.Length) {
	s.Color = plainInk(name)
	s.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

// hideScale takes the ticks and numbers from an axis whose values say nothing, such as a density's.
func hideScale(axis *plot.Axis) {
	axis.Tick.Length, axis.LineStyle.Width = 0, 0
	axis.Tick.Marker = plot.ConstantTicks(nil)
}

// horizontal lines at the ticks
func addGrid(p *plot.Plot) {
	g := plotter.NewGrid()
	g.Vertical = draw.LineStyle{}
	g.Horizontal = draw.LineStyle{Color: ink{"rule", .55}, Width: vg.Points(.6)}
	p.Add(g)
}

// ticks are multiples of 1, 2 or 5 times a power of ten, about so many, written as short as they can be.
type ticks int

// Ticks implements plot.Ticker.
func (t ticks) Ticks(low, high float64) []plot.Tick {
	if !(high > low) {
		return []plot.Tick{{Value: low, Label: strconv.FormatFloat(low, 'g', 4, 64)}}
	}
	rough := (high - low) / float64(t)
	power := math.Pow(10, math.Floor(math.Log10(rough)))
	step := 10 * power
	for _, factor := range []float64{1, 2, 5} {
		if factor*power >= rough {
			step = factor * power
			break
		}
	}
	decimals := max(0, -int(math.Floor(math.Log10(step)+1e-9)))
	var list []plot.Tick
	for i := math.Ceil(low/step - 1e-9); i*step <= high+step*1e-9; i++ {
		label := strconv.FormatFloat(i*step, 'f', decimals, 64)
		if math.Abs(i*step) >= 1e5 || decimals > 4 && i != 0 {
			label = strconv.FormatFloat(i*step, 'g', 3, 64)
		}
		if i == 0 {
			label = "0"
		}
		list = append(list, plot.Tick{Value: i * step, Label: label})
	}
	return list
}

// painter is a plotter made of a function, with the range of its data.
type painter struct {
	xMin, xMax, yMin, yMax float64
	paint                  func(c draw.Canvas, x, y func(float64) vg.Length)
}

// Plot implements plot.Plotter.
func (p painter) Plot(c draw.Canvas, plt *plot.Plot) {
	x, y := plt.Transforms(&c)
	p.paint(c, x, y)
}

// DataRange implements plot.DataRanger.
func (p painter) DataRange() (xMin, xMax, yMin, yMax float64) { return p.xMin, p.xMax, p.yMin, p.yMax }

// area fills between a curve and y = 0.
func area(curve plotter.XYs, colour color.Color) painter {
	xMin, xMax, yMin, yMax := plotter.XYRange(curve)
	return painter{xMin, xMax, min(0, yMin), yMax, func(c draw.Canvas, x, y func(float64) vg.Length) {
		if len(curve) == 0 {
			return
		}
		points := []vg.Point{{X: x(curve[0].X), Y: y(0)}}
		for _, p := range curve {
			points = append(points, vg.Point{X: x(p.X), Y: y(p.Y)})
		}
		points = append(points, vg.Point{X: x(curve[len(curve)-1].X), Y: y(0)})
		c.FillPolygon(colour, c.ClipPolygonXY(points))
	}}
}

func line(curve plotter.XYs, colour color.Color, width vg.Length, dashes ...vg.Length) painter {
	xMin, xMax, yMin, yMax := plotter.XYRange(curve)
	return painter{xMin, xMax, yMin, yMax, func(c draw.Canvas, x, y func(float64) vg.Length) {
		points := make([]vg.Point, len(curve))
		for i, p := range curve {
			points[i] = vg.Point{X: x(p.X), Y: y(p.Y)}
		}
		c.StrokeLines(draw.LineStyle{Color: colour, Width: width, Dashes: dashes}, c.ClipLinesXY(points)...)
	}}
}

// rectangle has its range from its corners.
func rectangle(x0, y0, x1, y1 float64, colour color.Color) painter {
	return painter{min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1), func(c draw.Canvas, x, y func(float64) vg.Length) {
		c.FillPolygon(colour, []vg.Point{{X: x(x0), Y: y(y0)}, {X: x(x1), Y: y(y0)}, {X: x(x1), Y: y(y1)}, {X: x(x0), Y: y(y1)}})
	}}
}

// Mark is a labelled vertical line in a plot, such as where the input in question lies, or a threshold.
type Mark struct {
	X     float64
	Label string
}

// vertical is a line over the full height that takes part in the horizontal range only.
func vertical(at float64, colour color.Color, width vg.Length, dashes ...vg.Length) painter {
	return painter{at, at, math.Inf(1), math.Inf(-1), func(c draw.Canvas, x, _ func(float64) vg.Length) {
		c.StrokeLine2(draw.LineStyle{Color: colour, Width: width, Dashes: dashes}, x(at), c.Min.Y, x(at), c.Max.Y)
	}}
}

// addMarks draws marks with labels on steps above the data, so that neighbours do not cover each other's.
func addMarks(p *plot.Plot, marks []Mark) {
	p.Y.Max *= 1 + .06*float64(min(len(marks), 3))
	for i, m := range marks {
		p.Add(vertical(m.X, plainInk("ink"), vg.Points(1), 3, 3))
		p.Add(painter{m.X, m.X, math.Inf(1), math.Inf(-1), func(c draw.Canvas, x, _ func(float64) vg.Length) {
			style := text.Style{Handler: plot.DefaultTextHandler, XAlign: text.XLeft, YAlign: text.YTop}
			styleText(&style, "ink", 9)
			label, at, beside := clean(m.Label), x(m.X), vg.Points(4)
			if at+beside+style.Width(label) > c.Max.X {
				style.XAlign, beside = text.XRight, -beside
			}
			c.FillText(style, vg.Point{X: at + beside, Y: c.Max.Y - vg.Length(i%3)*vg.Points(12)}, label)
		}})
	}
}

// drawn puts one plot onto a canvas of the usual size.
func drawn(p *plot.Plot) *canvas {
	c := newCanvas(chartWidth, chartHeight)
	p.Draw(draw.Crop(draw.New(c), 2, -8, 2, -6))
	return c
}

// margins is the room that a plot leaves at the left and the right of its data.
func margins(p *plot.Plot, c draw.Canvas) (left, right vg.Length) {
	data := p.DataCanvas(c)
	return data.Min.X - c.Min.X, c.Max.X - data.Max.X
}

func checkFinite(what, name string, values []float64) error {
	for i, v := range values {
		if !finite(v) {
			return fmt.Errorf("%s: value %d of %q is %v", what, i, name, v)
		}
	}
	return nil
}

// padRange widens a range by a fraction on both sides, and gives one of no width some.
func padRange(low, high, fraction float64) (float64, float64) {
	pad := (high - low) * fraction
	if !(pad > 0) {
		if pad = math.Abs(low) * .05; pad == 0 {
			pad = 1
		}
	}
	return low - pad, high + pad
}
