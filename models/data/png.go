package data

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"io"
	"path/filepath"
)

const pngMagic = "\x89PNG\r\n\x1a\n"

// png reads one picture of 8 bits per channel: grey gives one channel, colour (also from a palette) three.
func (s *source) png() (*Images, error) {
	// A picture of n pixels has at least n/1032 compressed bytes (the best that deflate can do), which bounds what
	// the decoder may be made to allocate; a plain bound on the file keeps the rest in proportion.
	const maxFile = 1 << 28
	data, err := io.ReadAll(io.LimitReader(s, maxFile+1))
	if err != nil {
		return nil, s.expected("a PNG picture", "%s", readProblem(err))
	}
	if len(data) > maxFile {
		return nil, s.expected(fmt.Sprintf("a PNG picture of at most %d bytes", maxFile), "more")
	}
	config, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, s.expected("a PNG picture", "%v", err)
	}
	im, err := s.newImages(1, int64(config.Height), int64(config.Width), 1)
	if err != nil {
		return nil, err
	}
	if int64(config.Height)*int64(config.Width)/8 > 1032*int64(len(data)) { // 1 bit per pixel is the least
		return nil, s.expected("a PNG picture", "%dx%d pixels in a file of %d bytes", config.Height, config.Width, len(data))
	}
	r := bytes.NewReader(data)
	picture, err := png.Decode(r)
	if err != nil {
		return nil, s.expected("a PNG picture", "%v", err)
	}
	if r.Len() > 0 {
		return nil, s.expected("the end of the file after the picture", "%d more bytes", r.Len())
	}
	im.Names = []string{filepath.Base(s.name)}
	switch p := picture.(type) {
	case *image.Gray:
		im.Pixels = make([]float32, 0, im.ImageSize())
		for y := range im.Height {
			im.Pixels = append(im.Pixels, scaleBytes(p.Pix[y*p.Stride:][:im.Width])...)
		}
	case *image.RGBA, *image.NRGBA, *image.Paletted:
		im.Channels = 3
		im.Pixels = make([]float32, 0, im.ImageSize())
		for y := range im.Height {
			for x := range im.Width {
				r, g, b, a := p.At(x, y).RGBA()
				if a != 0xffff {
					return nil, s.expected("an opaque picture", "transparency at row %d, column %d", y, x)
				}
				im.Pixels = append(im.Pixels, fromByte[r>>8], fromByte[g>>8], fromByte[b>>8])
			}
		}
	default:
		return nil, s.expected("8 bits per channel", "16")
	}
	return im, nil
}
