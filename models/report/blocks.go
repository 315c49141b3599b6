package report

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"strings"
)

// Section is a titled part of a page.
type Section struct {
	Title, Intro string
	Blocks       []Block
}

// HTML implements Block.
func (s Section) HTML() (template.HTML, error) {
	rendered, err := render(s.Blocks)
	if err != nil {
		return "", err
	}
	return execute("section", struct {
		Section
		Rendered []template.HTML
	}{s, rendered})
}

// Text is a paragraph.
type Text string

// HTML implements Block.
func (t Text) HTML() (template.HTML, error) { return execute("text", t) }

// Columns puts blocks side by side where there is room.
type Columns []Block

// HTML implements Block.
func (c Columns) HTML() (template.HTML, error) {
	rendered, err := render(c)
	if err != nil {
		return "", err
	}
	return execute("columns", rendered)
}

// Details hides blocks behind a summary that opens on a click.
type Details struct {
	Summary string
	Blocks  []Block
}

// HTML implements Block.
func (d Details) HTML() (template.HTML, error) {
	rendered, err := render(d.Blocks)
	if err != nil {
		return "", err
	}
	return execute("details", struct {
		Summary  string
		Rendered []template.HTML
	}{d.Summary, rendered})
}

// Callout is a message that must not be missed, such as a verdict and its reasons.
type Callout struct {
	Tone  Tone
	Title string
	Lines []string
}

// HTML implements Block.
func (c Callout) HTML() (template.HTML, error) { return execute("callout", c) }

// Figures are the few numbers to see first.
type Figures []Figure

// Figure is a number with its name and a remark, such as its interval.
type Figure struct {
	Label, Value, Remark string
	Tone                 Tone
}

// HTML implements Block.
func (f Figures) HTML() (template.HTML, error) { return execute("figures", f) }

// Table is a table of text. Columns of numbers are set flush right.
type Table struct {
	Title, Caption string
	Columns        []Column
	Rows           [][]Cell
}

// Column is the head of a column.
type Column struct {
	Title   string
	Numbers bool
}

// Cell is the text of a cell. Strong is for the best of a column and the like.
type Cell struct {
	Text   string
	Strong bool
	Tone   Tone
}

// HTML implements Block.
func (t Table) HTML() (template.HTML, error) {
	for i, row := range t.Rows {
		if len(row) != len(t.Columns) {
			return "", fmt.Errorf("table %q: row %d has %d cells for %d columns", t.Title, i, len(row), len(t.Columns))
		}
	}
	return execute("table", t)
}

// HeatTable is a matrix of numbers with colours by size: from nothing to the largest, or in two colours around zero if
// there are negative numbers. A confusion matrix and classifier weights look well in it.
type HeatTable struct {
	Title, Caption        string
	RowTitle, ColumnTitle string // what rows and columns are
	Rows, Columns         []string
	Values                [][]float64
	Format                string // of fmt, "%.3g" if empty
}

type heatCell struct {
	Text     string
	Strength float64 // 0 to 1
	Negative bool
}

// HTML implements Block.
func (h HeatTable) HTML() (template.HTML, error) {
	if len(h.Values) != len(h.Rows) {
		return "", fmt.Errorf("heat table %q: %d rows of values for %d names", h.Title, len(h.Values), len(h.Rows))
	}
	largest := 0.
	for i, row := range h.Values {
		if len(row) != len(h.Columns) {
			return "", fmt.Errorf("heat table %q: row %d has %d values for %d columns", h.Title, i, len(row), len(h.Columns))
		}
		for j, v := range row {
			if !finite(v) {
				return "", fmt.Errorf("heat table %q: the value at row %d, column %d is %v", h.Title, i, j, v)
			}
			largest = max(largest, math.Abs(v))
		}
	}
	format := cmp.Or(h.Format, "%.3g")
	cells := make([][]heatCell, len(h.Values))
	for i, row := range h.Values {
		for _, v := range row {
			c := heatCell{Text: formatNumber(format, v), Negative: v < 0}
			if largest > 0 {
				c.Strength = math.Round(1000*math.Abs(v)/largest) / 1000
			}
			cells[i] = append(cells[i], c)
		}
	}
	return execute("heat", struct {
		HeatTable
		Cells [][]heatCell
	}{h, cells})
}

// Bars are horizontal bars from a common zero line, such as what each class adds to a logit. Negative bars go to the
// left.
type Bars struct {
	Title, Caption string
	Bars           []Bar
	Format         string // of fmt, "%.3g" if empty
}

// Bar is one bar. Class chooses its colour.
type Bar struct {
	Label  string
	Value  float64
	Class  int
	Strong bool
}

type drawnBar struct {
	Bar
	Text       string
	Left, Size float64 // in percent of the width
}

// HTML implements Block.
func (b Bars) HTML() (template.HTML, error) {
	low, high := 0., 0.
	for _, bar := range b.Bars {
		if !finite(bar.Value) {
			return "", fmt.Errorf("bars %q: the value of %q is %v", b.Title, bar.Label, bar.Value)
		}
		low, high = min(low, bar.Value), max(high, bar.Value)
	}
	span := high - low
	if span == 0 {
		span = 1
	}
	percent := func(v float64) float64 { return math.Round(v/span*10_000) / 100 }
	format := cmp.Or(b.Format, "%.3g")
	drawn := make([]drawnBar, len(b.Bars))
	for i, bar := range b.Bars {
		drawn[i] = drawnBar{bar, formatNumber(format, bar.Value), percent(min(0, bar.Value) - low), percent(math.Abs(bar.Value))}
	}
	return execute("bars", struct {
		Bars
		Drawn []drawnBar
		Zero  float64
	}{b, drawn, percent(-low)})
}

// Meters are scores from 0 to 1, each with a threshold above which it alarms.
type Meters struct {
	Title, Caption string
	Meters         []Meter
}

// Meter is one score. A Threshold of 0 is none.
type Meter struct {
	Label            string
	Value, Threshold float64
	Text             string // the value in words, its digits if empty
}

type drawnMeter struct {
	Meter
	Size, Mark float64
	Over       bool
}

// HTML implements Block.
func (m Meters) HTML() (template.HTML, error) {
	drawn := make([]drawnMeter, len(m.Meters))
	for i, meter := range m.Meters {
		if !(meter.Value >= 0 && meter.Value <= 1 && meter.Threshold >= 0 && meter.Threshold <= 1) {
			return "", fmt.Errorf("meter %q: value %v and threshold %v must lie from 0 to 1", meter.Label, meter.Value, meter.Threshold)
		}
		if meter.Text == "" {
			meter.Text = fmt.Sprintf("%.3f", meter.Value)
		}
		percent := func(v float64) float64 { return math.Round(v*10_000) / 100 }
		drawn[i] = drawnMeter{meter, percent(meter.Value), percent(meter.Threshold), meter.Threshold > 0 && meter.Value > meter.Threshold}
	}
	return execute("meters", struct {
		Meters
		Drawn []drawnMeter
	}{m, drawn})
}

// formatNumber writes what rounds to zero without a sign.
func formatNumber(format string, v float64) string {
	text := fmt.Sprintf(format, v)
	if strings.HasPrefix(text, "-") && strings.Trim(text, "-0.") == "" {
		return text[1:]
	}
	return text
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
