// Package report builds self-contained HTML pages: pictures are inline PNG, plots inline SVG, and nothing is loaded
// from anywhere, which the page's content security policy also forbids. Pages follow the reader's light or dark
// theme, fit telephones, and have the same bytes for the same content.
//
// A page is a list of blocks. Plots are drawn by gonum.org/v1/plot on a canvas of this package that writes compact SVG
// in the page's colours.
package report

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"unicode"

	"github.com/credence-ml/credence/models/internal/atomicfile"
)

// Block is a part of a page.
type Block interface {
	// HTML is the block as safe HTML. An error says what is wrong with its content.
	HTML() (template.HTML, error)
}

// Page is a whole report. Sections among its blocks are listed at the top.
type Page struct {
	Title, Subtitle string
	Facts           []Fact // short facts beside the title: data set, seed, version
	Blocks          []Block
	Footer          string
}

// Fact is a name and a value.
type Fact struct{ Name, Value string }

// Tone colours what is good, doubtful or bad. The zero value has no colour.
type Tone string

// The tones. Each also has a mark, so that nothing depends on telling colours apart.
const (
	Neutral Tone = ""
	Good    Tone = "good"
	Caution Tone = "caution"
	Bad     Tone = "bad"
)

//go:embed templates
var files embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"anchor":   anchor,
	"colour":   func(class int) string { return classInk(class, 1).Name },
	"sections": sections,
	"style":    style,
}).ParseFS(files, "templates/*.html"))

func style() (template.CSS, error) {
	text, err := files.ReadFile("templates/style.css")
	return template.CSS(text), err
}

// render is the blocks one after another.
func render(blocks []Block) ([]template.HTML, error) {
	list := make([]template.HTML, len(blocks))
	for i, b := range blocks {
		var err error
		if list[i], err = b.HTML(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func execute(name string, data any) (template.HTML, error) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		return "", err
	}
	return template.HTML(b.String()), nil
}

// anchor makes a fragment identifier of a title.
func anchor(title string) string {
	words := strings.FieldsFunc(strings.ToLower(title), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return "s-" + strings.Join(words, "-")
}

func sections(blocks []Block) (list []Section) {
	for _, b := range blocks {
		if s, ok := b.(Section); ok {
			list = append(list, s)
		}
	}
	return list
}

// Write renders the page.
func (p *Page) Write(w io.Writer) error {
	rendered, err := render(p.Blocks)
	if err != nil {
		return fmt.Errorf("report %q: %w", p.Title, err)
	}
	html, err := execute("page", struct {
		*Page
		Rendered []template.HTML
	}{p, rendered})
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, string(html))
	return err
}

// Save renders the page into a file, which is replaced as a whole or not at all.
func (p *Page) Save(path string) error {
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		return err
	}
	return atomicfile.WriteFile(path, b.Bytes())
}

// SaveFile replaces a file that belongs to a report, such as its figures in JSON, by what fill writes. If fill fails,
// the file stays as it was; nobody ever sees a part of it.
func SaveFile(path string, fill func(w io.Writer) error) error { return atomicfile.Write(path, fill) }
