package report

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"image"
	"image/png"
	"math"
)

// Picture is an image with 1 (grey) or 3 (colour) channels. Pixels are [Height, Width, Channels] from -1 to 1; what lies
// outside is cut, and NaN is mid-grey.
type Picture struct {
	Height, Width, Channels int
	Pixels                  []float32
}

// PNG is the picture as a PNG file with 8 bits per channel.
func (p Picture) PNG() ([]byte, error) {
	if p.Height < 1 || p.Width < 1 || p.Channels != 1 && p.Channels != 3 || len(p.Pixels) != p.Height*p.Width*p.Channels {
		return nil, fmt.Errorf("a picture of %dx%d with %d channels has %d pixel values", p.Height, p.Width, p.Channels, len(p.Pixels))
	}
	var picture image.Image
	if area := image.Rect(0, 0, p.Width, p.Height); p.Channels == 1 {
		grey := image.NewGray(area)
		for i, v := range p.Pixels {
			grey.Pix[i] = toByte(v)
		}
		picture = grey
	} else {
		colour := image.NewNRGBA(area)
		for i := range p.Height * p.Width {
			for c, v := range p.Pixels[3*i : 3*i+3] {
				colour.Pix[4*i+c] = toByte(v)
			}
			colour.Pix[4*i+3] = 255
		}
		picture = colour
	}
	var b bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&b, picture); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// MarshalJSON gives the sizes and, as "png", the picture as a PNG file in base64.
func (p Picture) MarshalJSON() ([]byte, error) {
	file, err := p.PNG()
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Height   int    `json:"height"`
		Width    int    `json:"width"`
		Channels int    `json:"channels"`
		PNG      []byte `json:"png"`
	}{p.Height, p.Width, p.Channels, file})
}

func (p Picture) dataURI() (template.URL, error) {
	file, err := p.PNG()
	if err != nil {
		return "", err
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(file)), nil
}

// toByte inverts 2x/255 - 1.
func toByte(v float32) byte {
	if v != v {
		return 128
	}
	return byte(math.Round(min(max((float64(v)+1)*127.5, 0), 255)))
}

// Grid shows pictures in rows with captions. Rows with labels form a table; rows without wrap like text.
type Grid struct {
	Title, Caption string
	Size           int // of a picture's longer side on the page in CSS pixels, 72 if 0
	Rows           []GridRow
}

// GridRow is a row of pictures. A row of a class has the class's colour at its label.
type GridRow struct {
	Label    string
	Class    int
	Coloured bool
	Cells    []GridCell
}

// GridCell is a picture with a caption below it, and a frame if it has a tone.
type GridCell struct {
	Picture Picture
	Caption string
	Tone    Tone
}

type drawnCell struct {
	GridCell
	URI           template.URL
	Width, Height int
	Alt           string
}

type drawnRow struct {
	GridRow
	Drawn []drawnCell
}

// HTML implements Block.
func (g Grid) HTML() (template.HTML, error) {
	size := g.Size
	if size == 0 {
		size = 72
	}
	rows, labelled := make([]drawnRow, len(g.Rows)), false
	for i, row := range g.Rows {
		labelled = labelled || row.Label != ""
		rows[i].GridRow = row
		for j, cell := range row.Cells {
			uri, err := cell.Picture.dataURI()
			if err != nil {
				return "", fmt.Errorf("grid %q, row %d, picture %d: %w", g.Title, i, j, err)
			}
			longer := max(cell.Picture.Width, cell.Picture.Height)
			d := drawnCell{GridCell: cell, URI: uri, Width: max(1, size*cell.Picture.Width/longer), Height: max(1, size*cell.Picture.Height/longer)}
			if d.Alt = cell.Caption; d.Alt == "" {
				d.Alt = fmt.Sprintf("picture %d", j+1)
			}
			rows[i].Drawn = append(rows[i].Drawn, d)
		}
	}
	return execute("grid", struct {
		Grid
		Drawn    []drawnRow
		Labelled bool
	}{g, rows, labelled})
}
