package report

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"image"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/plot/vg"

	"github.com/credence-ml/credence/models/metrics"
)

func page(t *testing.T, p *Page) string {
	var b bytes.Buffer
	require.NoError(t, p.Write(&b))
	return b.String()
}

func htmlOf(t *testing.T, b Block) string {
	text, err := b.HTML()
	require.NoError(t, err)
	return string(text)
}

func TestPageIsSelfContained(t *testing.T) {
	text := page(t, samplePage())
	assert.NotRegexp(t, `(?i)https?://|src="[^d]|href="[^#]|url\(|@import|<script|<link|<iframe|\son\w+=`, strings.ReplaceAll(text, "&lt;script", ""))
	assert.Contains(t, text, `content="default-src 'none'; img-src data:; style-src 'unsafe-inline'"`)
	assert.NotContains(t, text, "ZgotmplZ", "html/template refused a value")
	assert.NotRegexp(t, `NaN|Inf`, text)
	assert.Less(t, len(text), 300_000)
}

func TestSameContentSameBytes(t *testing.T) {
	assert.Equal(t, page(t, samplePage()), page(t, samplePage()))
}

// Every colour class that a plot uses is in the style sheet, and no selector of colours is unused by the palette.
func TestStyleSheetKnowsTheColours(t *testing.T) {
	css, err := files.ReadFile("templates/style.css")
	require.NoError(t, err)
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`class="[^"]*?\b([fsb]-[a-z0-9]+)`).FindAllStringSubmatch(page(t, samplePage()), -1) {
		used[m[1]] = true
	}
	require.Greater(t, len(used), 20)
	for class := range used {
		assert.Regexp(t, `\.`+class+`\b`, string(css))
	}
	for k := range palette {
		assert.Len(t, regexp.MustCompile(classInk(k, 1).Name+`: #`).FindAllString(string(css), -1), 2, "light and dark")
	}
	assert.Equal(t, classInk(3, 1), classInk(13, 1))
	assert.Equal(t, classInk(9, 1), classInk(-1, 1))
}

var svg = regexp.MustCompile(`(?s)<svg.*?</svg>`)

func checkSVG(t *testing.T, text string) {
	decoder := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := decoder.Token(); err == io.EOF {
			break
		} else {
			require.NoError(t, err, text)
		}
	}
	require.NotRegexp(t, `NaN|Inf|="[^"]*\de[+-]?\d`, text)
}

func TestPlotsAreWellFormed(t *testing.T) {
	drawings := svg.FindAllString(page(t, samplePage()), -1)
	assert.Len(t, drawings, 6)
	for _, d := range drawings {
		checkSVG(t, d)
		assert.Contains(t, d, `role="img" aria-label="`)
	}
}

const hostile = `"><script>alert('x')</script><img src=x onerror=alert(1)>&amp;</style></svg>` + "\x00\x1b\xff"

// Names come from data sets and file names: none may become markup, wherever it stands.
func TestHostileText(t *testing.T) {
	pixel := Picture{1, 1, 1, []float32{0}}
	mark, bins := []Mark{{1, hostile}}, []metrics.Bin{{Low: 0, High: 1, Count: 3, Confidence: .5, Accuracy: .6}}
	values := []float64{1, 2, 3}
	covariance := [2][2]float64{{1, 0}, {0, 1}}
	text := page(t, &Page{Title: hostile, Subtitle: hostile, Facts: []Fact{{hostile, hostile}}, Footer: hostile, Blocks: []Block{
		Section{hostile, hostile, []Block{Text(hostile)}}, Columns{Text(hostile)}, Details{hostile, []Block{Text(hostile)}},
		Callout{Good, hostile, []string{hostile}}, Figures{{hostile, hostile, hostile, Good}},
		Table{hostile, hostile, []Column{{hostile, true}}, [][]Cell{{{Text: hostile}}, {{Text: hostile, Strong: true}}}},
		HeatTable{Title: hostile, Caption: hostile, RowTitle: hostile, ColumnTitle: hostile, Rows: []string{hostile}, Columns: []string{hostile}, Values: [][]float64{{1}}, Format: hostile + "%g"},
		Bars{hostile, hostile, []Bar{{hostile, 1, 0, true}}, hostile + "%g"}, Meters{hostile, hostile, []Meter{{hostile, .5, .4, hostile}}},
		Grid{Title: hostile, Caption: hostile, Rows: []GridRow{{hostile, 0, true, []GridCell{{pixel, hostile, Bad}}}}},
		Grid{Rows: []GridRow{{Cells: []GridCell{{pixel, hostile, Bad}}}}},
		Densities{hostile, hostile, hostile, []Sample{{hostile, 0, values}}, mark}, Histogram{hostile, hostile, hostile, []Sample{{hostile, 0, values}}, 3, mark},
		Lines{hostile, hostile, hostile, hostile, []Series{{hostile, 0, values, values}}, false},
		Scatter{hostile, hostile, hostile, hostile, []Group{{hostile, 0, values, values, [2]float64{}, &covariance}}, []Highlight{{1, 1, hostile}}},
		Reliability{hostile, hostile, bins}, RiskCoverage{hostile, hostile, []RiskCurve{{hostile, 0, []metrics.CoveragePoint{{Threshold: 0, Coverage: 1, Risk: .5}}}}},
	}})
	assert.NotContains(t, text, "<script>alert")
	assert.NotContains(t, text, "<img src=x")
	assert.Equal(t, 1, strings.Count(text, "</style>"))
	assert.Equal(t, strings.Count(text, "<svg"), strings.Count(text, "</svg>"))
	assert.NotContains(t, text, "ZgotmplZ")
	assert.Greater(t, strings.Count(text, "&lt;script&gt;alert"), 45)
	for _, d := range svg.FindAllString(text, -1) {
		checkSVG(t, d)
		assert.NotContains(t, d, "\x1b")
	}
}

func TestPicturesKeepTheirPixels(t *testing.T) {
	decode := func(p Picture) image.Image {
		uri, err := p.dataURI()
		require.NoError(t, err)
		data, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(uri), "data:image/png;base64,"))
		require.NoError(t, err)
		picture, err := png.Decode(bytes.NewReader(data))
		require.NoError(t, err)
		return picture
	}
	var bytes256 Picture
	bytes256.Height, bytes256.Width, bytes256.Channels = 16, 16, 1
	for i := range 256 {
		bytes256.Pixels = append(bytes256.Pixels, float32(2*float64(i)/255-1))
	}
	grey := decode(bytes256).(*image.Gray)
	for i, v := range grey.Pix {
		require.Equal(t, byte(i), v)
	}
	nan := float32(math.NaN())
	grey = decode(Picture{1, 3, 1, []float32{-9, 9, nan}}).(*image.Gray)
	assert.Equal(t, []byte{0, 255, 128}, grey.Pix)
	colour := decode(Picture{1, 2, 3, []float32{-1, 1, 0, 1, -1, -1}})
	r, g, b, a := colour.At(0, 0).RGBA()
	assert.Equal(t, [4]uint32{0, 0xffff, 0x8080, 0xffff}, [4]uint32{r, g, b, a})

	for _, bad := range []Picture{{}, {1, 1, 2, []float32{0, 0}}, {2, 2, 1, []float32{0}}, {-1, -1, 1, []float32{0}}} {
		_, err := Grid{Title: "g", Rows: []GridRow{{Cells: []GridCell{{Picture: bad}}}}}.HTML()
		assert.ErrorContains(t, err, `grid "g", row 0, picture 0: a picture of`)
	}
	text := htmlOf(t, Grid{Size: 64, Rows: []GridRow{{Cells: []GridCell{{Picture: Picture{2, 4, 1, make([]float32, 8)}}}}}})
	assert.Contains(t, text, `width="64" height="32" alt="picture 1"`)
}

// Wrong content is an error that says where, in one line, and not a picture of something else.
func TestWrongContent(t *testing.T) {
	nan, one := math.NaN(), []float64{1}
	for want, b := range map[string]Block{
		`densities D: value 1 of "s" is NaN`:                        Densities{Title: "D", Samples: []Sample{{"s", 0, []float64{1, nan}}}},
		`densities D: the mark "m" is at +Inf`:                      Densities{Title: "D", Samples: []Sample{{"s", 0, one}}, Marks: []Mark{{math.Inf(1), "m"}}},
		`histogram H: value 0 of "s" is -Inf`:                       Histogram{Title: "H", Samples: []Sample{{"s", 0, []float64{math.Inf(-1)}}}},
		`histogram H: the mark "m" is at NaN`:                       Histogram{Title: "H", Samples: []Sample{{"s", 0, one}}, Marks: []Mark{{nan, "m"}}},
		`lines L: "s" has 1 x and 0 y`:                              Lines{Title: "L", Series: []Series{{"s", 0, one, nil}}},
		`lines L: value 1 of "s" is NaN`:                            Lines{Title: "L", Series: []Series{{"s", 0, one, []float64{nan}}}},
		`scatter S: "g" has 1 x and 2 y`:                            Scatter{Title: "S", Groups: []Group{{Name: "g", X: one, Y: []float64{1, 2}}}},
		`scatter S: value 0 of "g" is NaN`:                          Scatter{Title: "S", Groups: []Group{{Name: "g", X: []float64{nan}, Y: one}}},
		`scatter S: value 2 of "g" is NaN`:                          Scatter{Title: "S", Groups: []Group{{Name: "g", Covariance: &[2][2]float64{{nan, 0}, {0, 1}}}}},
		`scatter S: value 1 of "h" is NaN`:                          Scatter{Title: "S", Highlights: []Highlight{{1, nan, "h"}}},
		`reliability R: the bin from 0 to 1`:                        Reliability{Title: "R", Bins: []metrics.Bin{{High: 1, Count: 1, Accuracy: nan}}},
		`table "T": row 1 has 1 cells for 2 columns`:                Table{Title: "T", Columns: make([]Column, 2), Rows: [][]Cell{make([]Cell, 2), make([]Cell, 1)}},
		`heat table "H": 1 rows of values for 2 names`:              HeatTable{Title: "H", Rows: []string{"a", "b"}, Values: [][]float64{{}}},
		`heat table "H": row 0 has 1 values for 2 columns`:          HeatTable{Title: "H", Rows: []string{"a"}, Columns: []string{"x", "y"}, Values: [][]float64{{1}}},
		`heat table "H": the value at row 0, column 0 is NaN`:       HeatTable{Title: "H", Rows: []string{"a"}, Columns: []string{"x"}, Values: [][]float64{{nan}}},
		`bars "B": the value of "b" is +Inf`:                        Bars{Title: "B", Bars: []Bar{{Label: "b", Value: math.Inf(1)}}},
		`meter "m": value 1.5 and threshold 0 must lie from 0 to 1`: Meters{Meters: []Meter{{Label: "m", Value: 1.5}}},
		`meter "m": value NaN`:                                      Meters{Meters: []Meter{{Label: "m", Value: nan}}},
	} {
		for _, around := range []Block{b, Section{"s", "", []Block{b}}, Columns{b}, Details{"d", []Block{b}}} {
			_, err := around.HTML()
			require.ErrorContains(t, err, want)
			require.NotContains(t, err.Error(), "template")
		}
		path := filepath.Join(t.TempDir(), "x.html")
		require.ErrorContains(t, (&Page{Title: "P", Blocks: []Block{b}}).Save(path), `report "P": `+want)
		require.NoFileExists(t, path)
	}
}

// Little, equal, huge and tiny data still give a drawing with numbers in it.
func TestExtremeData(t *testing.T) {
	for _, values := range [][]float64{{5}, {5, 5, 5}, {0, 0}, {1e-12, 2e-12}, {1e9, 2e9, 5e9}, {-1e6, 1e6}, {1e5, 1e5 + 1e-6}} {
		covariance := [2][2]float64{{values[0], 1}, {1, -1}}
		for _, b := range []Block{
			Densities{Samples: []Sample{{"a", 0, values}, {"b", 1, nil}}, Marks: []Mark{{values[0], "m"}, {values[0], "long label at the same place"}}},
			Histogram{Samples: []Sample{{"a", 0, values}}}, Lines{Series: []Series{{"a", 0, values, values}}}, Lines{Series: []Series{{"a", 0, values, values}}, FromZero: true},
			Scatter{Groups: []Group{{Name: "a", Class: 123, X: values, Y: values, Mean: [2]float64{values[0], values[0]}, Covariance: &covariance}}},
		} {
			drawing := svg.FindString(htmlOf(t, b))
			require.NotEmpty(t, drawing, "%T of %v", b, values)
			checkSVG(t, drawing)
			require.Contains(t, drawing, "<text", "%T of %v", b, values)
		}
	}
	for _, b := range []Block{Densities{}, Histogram{Samples: []Sample{{"a", 0, nil}}}, Lines{}, Scatter{}, Reliability{Bins: make([]metrics.Bin, 3)}, RiskCoverage{}} {
		assert.Contains(t, htmlOf(t, b), "no data", "%T", b)
	}
	assert.Contains(t, htmlOf(t, HeatTable{Rows: []string{"a"}, Columns: []string{"x"}, Values: [][]float64{{0}}}), `style="--v:0"`)
	assert.Contains(t, htmlOf(t, Bars{Bars: []Bar{{Label: "zero"}}}), `width:0%`)
}

func TestBarsAndMeters(t *testing.T) {
	text := htmlOf(t, Bars{Bars: []Bar{{Label: "a", Value: -1, Class: 1}, {Label: "b", Value: 3, Class: 12}}})
	assert.Contains(t, text, `class="b-c1" style="left:0%;width:25%"`)
	assert.Contains(t, text, `class="b-c2" style="left:25%;width:75%"`)
	assert.Equal(t, 2, strings.Count(text, `<b style="left:25%">`))
	text = htmlOf(t, Meters{Meters: []Meter{{"under", .5, .95, ""}, {"over", .96, .95, "far out"}, {"at", .95, .95, ""}, {"none", 1, 0, ""}}})
	assert.Equal(t, 1, strings.Count(text, "b-bad"))
	assert.Contains(t, text, "far out")
	assert.Equal(t, 3, strings.Count(text, `<b style="left:95%">`))
	text = htmlOf(t, HeatTable{Rows: []string{"a"}, Columns: []string{"x", "y", "z"}, Values: [][]float64{{-2, 1, -.001}}, Format: "%.1f"})
	assert.Contains(t, text, `class="negative strong" style="--v:1">-2.0<`)
	assert.Contains(t, text, `class="positive" style="--v:0.5">1.0<`)
	assert.Contains(t, text, `>0.0<`, "no minus before what rounds to zero")
}

func TestTicks(t *testing.T) {
	labels := func(low, high float64) (list []string) {
		for _, tick := range ticks(5).Ticks(low, high) {
			list = append(list, tick.Label)
		}
		return list
	}
	assert.Equal(t, []string{"0", "0.2", "0.4", "0.6", "0.8", "1.0"}, labels(0, 1))
	assert.Equal(t, []string{"-5", "0", "5"}, labels(-9, 9.5))
	assert.Equal(t, []string{"0", "5", "10", "15", "20"}, labels(0, 21))
	assert.Equal(t, []string{"1200", "1400", "1600", "1800", "2000"}, labels(1100, 2050))
	assert.Equal(t, []string{"0", "1e+09", "2e+09", "3e+09"}, labels(-1e8, 3.5e9))
	assert.Equal(t, []string{"0", "2e-12", "4e-12", "6e-12", "8e-12"}, labels(0, 9e-12))
	assert.Equal(t, []string{"3"}, labels(3, 3))
}

// The canvas's transforms against what they are to do, through what it writes.
func TestCanvas(t *testing.T) {
	c := newCanvas(100, 50)
	c.SetColor(plainInk("ink"))
	c.Push()
	c.Translate(vg.Point{X: 10, Y: 20})
	c.Scale(2, 3)
	c.Stroke(vg.Path{{Type: vg.MoveComp}, {Type: vg.LineComp, Pos: vg.Point{X: 5, Y: 1}}, {Type: vg.CloseComp}})
	c.Pop()
	c.Rotate(math.Pi / 2)
	c.Translate(vg.Point{X: 1, Y: 2})
	c.Fill(vg.Path{{Type: vg.MoveComp}, {Type: vg.CurveComp, Pos: vg.Point{X: 4}, Control: []vg.Point{{X: 1, Y: 1}}}})
	c.SetColor(nil)
	c.SetLineDash([]vg.Length{2, 1}, 1)
	c.Stroke(vg.Path{{Type: vg.MoveComp}})
	text := c.svg("a & b")
	checkSVG(t, text)
	assert.Contains(t, text, `aria-label="a &amp; b"`)
	assert.Contains(t, text, `class="s-ink" stroke-width="2.4" d="M10 30L20 27Z"`)
	assert.Contains(t, text, `class="f-ink" d="M-2 49Q-3 48 -2 45"`)
	assert.Contains(t, text, `style="fill:none;stroke:#000000" stroke-width="1" stroke-dasharray="2 1" stroke-dashoffset="1" d="M-2 49"`)

	// a quarter of a circle of radius 10, and a whole one in four pieces
	c = newCanvas(100, 100)
	c.Stroke(vg.Path{{Type: vg.ArcComp, Pos: vg.Point{X: 50, Y: 50}, Radius: 10, Angle: math.Pi / 2}})
	assert.Contains(t, c.out.String(), `d="M60 50C60 44.5 55.5 40 50 40"`)
	c = newCanvas(100, 100)
	c.Stroke(vg.Path{{Type: vg.MoveComp}, {Type: vg.ArcComp, Pos: vg.Point{X: 50, Y: 50}, Radius: 10, Start: math.Pi, Angle: -2 * math.Pi}})
	assert.Contains(t, c.out.String(), `d="M0 100L40 50C40 44.5 44.5 40 50 40C55.5 40 60 44.5 60 50C60 55.5 55.5 60 50 60C44.5 60 40 55.5 40 50"`)

	c = newCanvas(10, 10)
	c.DrawImage(vg.Rectangle{Min: vg.Point{X: 1, Y: 2}, Max: vg.Point{X: 4, Y: 6}}, image.NewGray(image.Rect(0, 0, 2, 2)))
	assert.Contains(t, c.out.String(), `x="1" y="4" width="3" height="4" href="data:image/png;base64,`)
	w, h := c.Size()
	assert.Equal(t, [2]vg.Length{10, 10}, [2]vg.Length{w, h})
}

// Of a Gaussian, an ellipse at r standard deviations has the points L (r cos, r sin).
func TestEllipse(t *testing.T) {
	e := ellipse([2]float64{10, 20}, [2][2]float64{{4, 2}, {2, 5}}, 2, nil, 1)
	assert.Equal(t, [4]float64{6, 14, 20 - 2*math.Sqrt(5), 20 + 2*math.Sqrt(5)}, [4]float64{e.xMin, e.xMax, e.yMin, e.yMax})
	flat := ellipse([2]float64{1, 1}, [2][2]float64{{0, 0}, {0, 9}}, 1, nil, 1)
	assert.Equal(t, [4]float64{1, 1, -2, 4}, [4]float64{flat.xMin, flat.xMax, flat.yMin, flat.yMax})
}

func TestSaveReplacesAsAWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.html")
	require.NoError(t, (&Page{Title: "one"}).Save(path))
	require.NoError(t, (&Page{Title: "two"}).Save(path))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Contains(t, string(text), "<title>two</title>")
	assert.Error(t, (&Page{}).Save(filepath.Join(t.TempDir(), "none", "x.html")))
}
