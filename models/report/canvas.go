package report

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html"
	"image"
	"image/color"
	"image/png"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
)

// ink is a colour by its name in the style sheet, so that plots follow the page's theme.
type ink struct {
	Name    string
	opacity float64
}

// RGBA implements color.Color; only canvases other than ours would ask.
func (i ink) RGBA() (r, g, b, a uint32) {
	return color.NRGBA{A: uint8(255 * i.opacity)}.RGBA()
}

// palette is the number of class colours in the style sheet.
const palette = 10

func classInk(class int, opacity float64) ink {
	return ink{"c" + strconv.Itoa(((class%palette)+palette)%palette), opacity}
}

func plainInk(name string) ink { return ink{name, 1} }

// canvas implements vg.Canvas and writes SVG for a page: colours are classes of its style sheet, text is text,
// coordinates have a tenth of a point. The general SVG backend of gonum.org/v1/plot writes absolute colours and four
// times the bytes.
type canvas struct {
	width, height vg.Length
	out           strings.Builder
	state         canvasState
	stack         []canvasState
}

type canvasState struct {
	colour     color.Color
	lineWidth  vg.Length
	dashes     []vg.Length
	dashOffset vg.Length
	// x' = a x + c y + e, y' = b x + d y + f, with y upwards
	a, b, c, d, e, f float64
}

func newCanvas(width, height vg.Length) *canvas {
	return &canvas{width: width, height: height, state: canvasState{a: 1, d: 1, lineWidth: 1}}
}

// svg is the whole drawing. It takes the width that it is given; label is for readers who cannot see it.
func (c *canvas) svg(label string) string {
	return fmt.Sprintf(`<svg viewBox="0 0 %s %s" style="max-width:%spt" role="img" aria-label="%s">%s</svg>`,
		number(c.width), number(c.height), number(c.width*1.5), html.EscapeString(clean(label)), c.out.String())
}

// Size implements vg.CanvasSizer.
func (c *canvas) Size() (vg.Length, vg.Length) { return c.width, c.height }

// SetLineWidth implements vg.Canvas, as do the methods that follow.
func (c *canvas) SetLineWidth(w vg.Length) { c.state.lineWidth = w }

func (c *canvas) SetLineDash(pattern []vg.Length, offset vg.Length) {
	c.state.dashes, c.state.dashOffset = pattern, offset
}

func (c *canvas) SetColor(colour color.Color) { c.state.colour = colour }

func (c *canvas) Rotate(radians float64) {
	sin, cos := math.Sincos(radians)
	s := &c.state
	s.a, s.b, s.c, s.d = s.a*cos+s.c*sin, s.b*cos+s.d*sin, s.c*cos-s.a*sin, s.d*cos-s.b*sin
}

func (c *canvas) Translate(p vg.Point) {
	s := &c.state
	s.e += s.a*float64(p.X) + s.c*float64(p.Y)
	s.f += s.b*float64(p.X) + s.d*float64(p.Y)
}

func (c *canvas) Scale(x, y float64) {
	s := &c.state
	s.a, s.b, s.c, s.d = s.a*x, s.b*x, s.c*y, s.d*y
}

func (c *canvas) Push() { c.stack = append(c.stack, c.state) }

func (c *canvas) Pop() {
	c.state = c.stack[len(c.stack)-1]
	c.stack = c.stack[:len(c.stack)-1]
}

// point is where a point of the current coordinates lies in SVG's, whose y goes down.
func (c *canvas) point(p vg.Point) (x, y vg.Length) {
	s := &c.state
	return vg.Length(s.a*float64(p.X) + s.c*float64(p.Y) + s.e), c.height - vg.Length(s.b*float64(p.X)+s.d*float64(p.Y)+s.f)
}

func (c *canvas) scale() float64 {
	return math.Sqrt(math.Abs(c.state.a*c.state.d - c.state.b*c.state.c))
}

func (c *canvas) Stroke(path vg.Path) {
	if c.state.lineWidth <= 0 || len(path) == 0 {
		return
	}
	c.out.WriteString("<path")
	c.paint("s", "stroke")
	c.attribute("stroke-width", number(c.state.lineWidth*vg.Length(c.scale())))
	if len(c.state.dashes) > 0 {
		var lengths []string
		for _, d := range c.state.dashes {
			lengths = append(lengths, number(d))
		}
		c.attribute("stroke-dasharray", strings.Join(lengths, " "))
		if c.state.dashOffset != 0 {
			c.attribute("stroke-dashoffset", number(c.state.dashOffset))
		}
	}
	c.attribute("d", c.pathData(path))
	c.out.WriteString("/>")
}

func (c *canvas) Fill(path vg.Path) {
	if len(path) == 0 {
		return
	}
	c.out.WriteString("<path")
	c.paint("f", "fill")
	c.attribute("d", c.pathData(path))
	c.out.WriteString("/>")
}

// Dots draws discs as one path of round line ends, which takes ten bytes each.
func (c *canvas) Dots(points []vg.Point, diameter vg.Length) {
	if len(points) == 0 {
		return
	}
	c.out.WriteString("<path")
	c.paint("s", "stroke")
	c.attribute("stroke-linecap", "round")
	c.attribute("stroke-width", number(diameter))
	var data strings.Builder
	for _, p := range points {
		x, y := c.point(p)
		data.WriteString("M" + number(x) + " " + number(y) + "h0")
	}
	c.attribute("d", data.String())
	c.out.WriteString("/>")
}

func (c *canvas) attribute(name, value string) { c.out.WriteString(" " + name + `="` + value + `"`) }

// paint writes the colour as a class with this prefix for the style sheet, or as an attribute if it has no name there.
func (c *canvas) paint(prefix, attribute string) {
	opacity := 1.
	if named, ok := c.state.colour.(ink); ok {
		c.attribute("class", prefix+"-"+named.Name)
		opacity = named.opacity
	} else {
		rgb := color.NRGBA{A: 255}
		if c.state.colour != nil {
			rgb = color.NRGBAModel.Convert(c.state.colour).(color.NRGBA)
		}
		c.attribute("style", fmt.Sprintf("fill:none;%s:#%02x%02x%02x", attribute, rgb.R, rgb.G, rgb.B))
		opacity = float64(rgb.A) / 255
	}
	if opacity < 1 {
		c.attribute(attribute+"-opacity", strconv.FormatFloat(opacity, 'g', 2, 64))
	}
}

func (c *canvas) pathData(path vg.Path) string {
	var data strings.Builder
	to := func(command string, points ...vg.Point) {
		data.WriteString(command)
		for i, p := range points {
			if i > 0 {
				data.WriteByte(' ')
			}
			x, y := c.point(p)
			data.WriteString(number(x) + " " + number(y))
		}
	}
	for i, part := range path {
		switch part.Type {
		case vg.MoveComp:
			to("M", part.Pos)
		case vg.LineComp:
			to("L", part.Pos)
		case vg.CurveComp:
			to(map[int]string{1: "Q", 2: "C"}[len(part.Control)], append(append([]vg.Point{}, part.Control...), part.Pos)...)
		case vg.CloseComp:
			data.WriteByte('Z')
		case vg.ArcComp:
			// in pieces of a quarter circle at most, each as a cubic curve
			pieces := max(1, int(math.Ceil(math.Abs(part.Angle)/(math.Pi/2))))
			step := part.Angle / float64(pieces)
			k := 4. / 3 * math.Tan(step/4) * float64(part.Radius)
			at := func(angle, along float64) vg.Point {
				sin, cos := math.Sincos(angle)
				return vg.Point{X: part.Pos.X + part.Radius*vg.Length(cos) - vg.Length(along*sin), Y: part.Pos.Y + part.Radius*vg.Length(sin) + vg.Length(along*cos)}
			}
			first := "L"
			if i == 0 {
				first = "M"
			}
			to(first, at(part.Start, 0))
			for p := range pieces {
				from, till := part.Start+float64(p)*step, part.Start+float64(p+1)*step
				to("C", at(from, k), at(till, -k), at(till, 0))
			}
		}
	}
	return data.String()
}

func (c *canvas) FillString(face font.Face, p vg.Point, text string) {
	if face.Font.Size == 0 || text == "" {
		return
	}
	x, y := c.point(p)
	c.out.WriteString("<text")
	c.paint("f", "fill")
	c.attribute("x", number(x))
	c.attribute("y", number(y))
	c.attribute("font-size", number(face.Font.Size*vg.Length(c.scale())))
	// Widths are those of the font that placed the text; a reader's own font is made to keep to them.
	if len(text) > 3 {
		c.attribute("textLength", number(face.Width(text)*vg.Length(c.scale())))
		c.attribute("lengthAdjust", "spacingAndGlyphs")
	}
	if degrees := -math.Atan2(c.state.b, c.state.a) * 180 / math.Pi; math.Abs(degrees) > .01 {
		c.attribute("transform", fmt.Sprintf("rotate(%s %s %s)", number(vg.Length(degrees)), number(x), number(y)))
	}
	c.out.WriteString(">" + html.EscapeString(clean(text)) + "</text>")
}

func (c *canvas) DrawImage(area vg.Rectangle, picture image.Image) {
	var b bytes.Buffer
	if png.Encode(&b, picture) != nil { // an empty picture
		return
	}
	x, y := c.point(vg.Point{X: area.Min.X, Y: area.Max.Y})
	right, bottom := c.point(vg.Point{X: area.Max.X, Y: area.Min.Y})
	c.out.WriteString(`<image preserveAspectRatio="none"`)
	c.attribute("x", number(x))
	c.attribute("y", number(y))
	c.attribute("width", number(right-x))
	c.attribute("height", number(bottom-y))
	c.attribute("href", "data:image/png;base64,"+base64.StdEncoding.EncodeToString(b.Bytes()))
	c.out.WriteString("/>")
}

// number has at most one digit after the point.
func number(v vg.Length) string {
	text := strconv.FormatFloat(math.Round(10*float64(v))/10, 'f', -1, 64)
	if text == "-0" {
		return "0"
	}
	return text
}

// clean drops control characters, which HTML does not allow, and repairs what is not UTF-8.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
}
