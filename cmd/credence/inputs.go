package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"io"
	"math"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/image/draw"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/probpsenn"
	"github.com/credence-ml/credence/models/report"
	"github.com/credence-ml/credence/runtime"
)

// withModel opens a runtime and loads a model for the time of f.
func withModel(s *settings, path string, f func(m *probpsenn.Model) error) error {
	rt, err := runtime.Open(s.options()...)
	if err != nil {
		return err
	}
	defer rt.Close()
	m, err := probpsenn.Load(rt, path)
	if err != nil {
		return err
	}
	defer m.Close()
	return f(m)
}

// needed is an error if one of the flags, which come as name and value, is empty.
func needed(flags ...[2]string) error {
	var names []string
	missing := false
	for _, f := range flags {
		names = append(names, "--"+f[0])
		missing = missing || f[1] == ""
	}
	if missing {
		return fmt.Errorf("%s and %s are needed", strings.Join(names[:len(names)-1], ", "), names[len(names)-1])
	}
	return nil
}

// warn prints a line that is no error.
func warn(c *cobra.Command, format string, args ...any) {
	fmt.Fprintf(c.ErrOrStderr(), "credence: warning: "+format+"\n", args...)
}

// loadInputs reads a file of inputs for a model. A PNG picture is fitted to the size and colours that the model takes.
func loadInputs(c *cobra.Command, config *probpsenn.Config, path string, invert bool) (*data.Images, error) {
	im, err := loadFile(config, path)
	if err != nil {
		return nil, err
	}
	if im.Names != nil {
		fitted, changes := fitPicture(im, config)
		if changes != "" {
			warn(c, "%s: %s", path, changes)
		}
		im = fitted
	}
	if want := config.Height * config.Width * config.Channels; config.Network != "features" && (im.Height != config.Height || im.Width != config.Width || im.Channels != config.Channels) {
		return nil, fmt.Errorf("%s: pictures of %dx%d with %d channels; the model takes %dx%d with %d (%d values)", path, im.Height, im.Width, im.Channels,
			config.Height, config.Width, config.Channels, want)
	}
	if im.N == 0 {
		return nil, fmt.Errorf("%s: no inputs", path)
	}
	if invert {
		for i, v := range im.Pixels {
			im.Pixels[i] = -v
		}
	}
	return im, nil
}

func loadFile(config *probpsenn.Config, path string) (*data.Images, error) {
	if config.Network != "features" {
		return data.LoadFile(path)
	}
	a, err := data.ReadNPY(path)
	if err != nil {
		return nil, err
	}
	if len(a.Shape) != 2 || a.Shape[1] != config.Latent {
		return nil, fmt.Errorf("%s: shape %v; the model takes feature vectors [N, %d]", path, a.Shape, config.Latent)
	}
	values, err := a.Float32s()
	if err != nil {
		return nil, err
	}
	return &data.Images{N: a.Shape[0], Height: 1, Width: a.Shape[1], Channels: 1, Pixels: values, Source: path}, nil
}

// loadSplit reads a split of a directory for a model.
func loadSplit(config *probpsenn.Config, dir, split string) (*data.Images, error) {
	if config.Network != "features" {
		return data.LoadDirectory(dir, split)
	}
	v, err := data.LoadVectors(dir, split)
	if err != nil {
		return nil, err
	}
	return &data.Images{N: v.N, Height: 1, Width: v.D, Channels: 1, Pixels: v.Values, Labels: v.Labels, Source: v.Source}, nil
}

// fitPicture makes a single picture one that the model takes, and says what it changed.
func fitPicture(im *data.Images, config *probpsenn.Config) (*data.Images, string) {
	var changes []string
	if im.Channels == 3 && config.Channels == 1 {
		changes = append(changes, "colour made grey")
	}
	if im.Channels == 1 && config.Channels == 3 {
		changes = append(changes, "grey taken as colour")
	}
	if im.Height != config.Height || im.Width != config.Width {
		changes = append(changes, fmt.Sprintf("%dx%d fitted into %dx%d", im.Height, im.Width, config.Height, config.Width))
	}
	if changes == nil {
		return im, ""
	}
	from := image.NewNRGBA64(image.Rect(0, 0, im.Width, im.Height))
	for i := range im.Height * im.Width {
		from.SetNRGBA64(i%im.Width, i/im.Width, pixel(im.Pixels[i*im.Channels:(i+1)*im.Channels], config.Channels))
	}
	to := image.NewNRGBA64(image.Rect(0, 0, config.Width, config.Height))
	draw.Draw(to, to.Bounds(), image.NewUniform(border(from)), image.Point{}, draw.Src)
	scale := math.Min(float64(config.Width)/float64(im.Width), float64(config.Height)/float64(im.Height))
	w, h := max(1, int(math.Round(scale*float64(im.Width)))), max(1, int(math.Round(scale*float64(im.Height))))
	left, top := (config.Width-w)/2, (config.Height-h)/2
	draw.BiLinear.Scale(to, image.Rect(left, top, left+w, top+h), from, from.Bounds(), draw.Src, nil)
	fitted := &data.Images{N: 1, Height: config.Height, Width: config.Width, Channels: config.Channels, Names: im.Names, Source: im.Source}
	for i := range config.Height * config.Width {
		v := to.NRGBA64At(i%config.Width, i/config.Width)
		for _, x := range []uint16{v.R, v.G, v.B}[:config.Channels] {
			fitted.Pixels = append(fitted.Pixels, float32(2*float64(x)/0xffff-1))
		}
	}
	return fitted, strings.Join(changes, ", ")
}

// pixel is a pixel of one or three values as a colour; of one channel, the luma of ITU-R BT.601.
func pixel(v []float32, channels int) color.NRGBA64 {
	r, g, b := v[0], v[len(v)/2], v[len(v)-1]
	if channels == 1 && len(v) == 3 {
		r = .299*r + .587*g + .114*b
		g, b = r, r
	}
	to := func(x float32) uint16 { return uint16(math.Round((float64(x) + 1) / 2 * 0xffff)) }
	return color.NRGBA64{R: to(r), G: to(g), B: to(b), A: 0xffff}
}

// border is the mean colour of a picture's outermost pixels, which goes on where the picture does not reach.
func border(im *image.NRGBA64) color.NRGBA64 {
	var sum [3]float64
	n, size := 0., im.Bounds().Size()
	for y := range size.Y {
		for x := range size.X {
			if x == 0 || y == 0 || x == size.X-1 || y == size.Y-1 {
				v := im.NRGBA64At(x, y)
				sum[0], sum[1], sum[2] = sum[0]+float64(v.R), sum[1]+float64(v.G), sum[2]+float64(v.B)
				n++
			}
		}
	}
	return color.NRGBA64{R: uint16(sum[0] / n), G: uint16(sum[1] / n), B: uint16(sum[2] / n), A: 0xffff}
}

// saveReport writes a page and, if a path is given, its content as JSON. Nothing is written before both are whole.
func saveReport(page *report.Page, html string, content any, asJSON string) error {
	var rendered, document bytes.Buffer
	if err := page.Write(&rendered); err != nil {
		return err
	}
	if asJSON != "" {
		if err := writeJSON(&document, content); err != nil {
			return err
		}
		if err := report.SaveFile(asJSON, func(w io.Writer) error { _, err := document.WriteTo(w); return err }); err != nil {
			return err
		}
	}
	return report.SaveFile(html, func(w io.Writer) error { _, err := rendered.WriteTo(w); return err })
}

// jsonLine writes one object on a line.
func jsonLine(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
