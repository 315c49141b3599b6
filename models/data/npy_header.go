package data

import (
	"fmt"
	"strconv"
	"strings"
)

// npyHeader is what the header says: a Python dictionary with exactly three keys.
type npyHeader struct {
	descr   string
	fortran bool
	shape   []int
}

func parseNPYHeader(text string) (h npyHeader, err error) {
	p := npyParser{strings.TrimRight(text, " \n")}
	seen := map[string]bool{}
	if err := p.take("{"); err != nil {
		return h, err
	}
	for !p.next("}") {
		key, err := p.quoted()
		if err != nil {
			return h, err
		}
		if seen[key] {
			return h, fmt.Errorf("%q appears twice", key)
		}
		seen[key] = true
		if err := p.take(":"); err != nil {
			return h, err
		}
		switch key {
		case "descr":
			h.descr, err = p.quoted()
		case "fortran_order":
			h.fortran, err = p.boolean()
		case "shape":
			h.shape, err = p.tuple()
		default:
			err = fmt.Errorf("unknown key %q", key)
		}
		if err != nil {
			return h, err
		}
		if !p.next(",") {
			if err := p.take("}"); err != nil {
				return h, err
			}
			break
		}
	}
	if p.rest != "" {
		return h, fmt.Errorf("%q follows the dictionary", shorten(p.rest))
	}
	if len(seen) != 3 {
		return h, fmt.Errorf("a key is missing")
	}
	return h, nil
}

// npyParser knows as much Python as the header needs.
type npyParser struct{ rest string }

// next takes the token if it comes next.
func (p *npyParser) next(token string) bool {
	after, found := strings.CutPrefix(strings.TrimLeft(p.rest, " \t\n"), token)
	if found {
		p.rest = after
	}
	return found
}

func (p *npyParser) take(token string) error {
	if !p.next(token) {
		return fmt.Errorf("no %q where one was due", token)
	}
	return nil
}

func (p *npyParser) quoted() (string, error) {
	quote := "'"
	if !p.next(quote) {
		quote = `"`
		if !p.next(quote) {
			return "", fmt.Errorf("no string where one was due")
		}
	}
	text, after, found := strings.Cut(p.rest, quote)
	if !found || strings.Contains(text, `\`) {
		return "", fmt.Errorf("a string without end, or with escapes")
	}
	p.rest = after
	return text, nil
}

func (p *npyParser) boolean() (bool, error) {
	if p.next("True") {
		return true, nil
	}
	return false, p.take("False")
}

func (p *npyParser) tuple() ([]int, error) {
	if err := p.take("("); err != nil {
		return nil, err
	}
	sizes, comma := []int{}, true
	for !p.next(")") {
		if !comma {
			return nil, fmt.Errorf("no comma in the shape")
		}
		p.rest = strings.TrimLeft(p.rest, " \t\n")
		digits := len(p.rest) - len(strings.TrimLeft(p.rest, "0123456789"))
		size, err := strconv.ParseInt(p.rest[:digits], 10, 0)
		if err != nil {
			return nil, fmt.Errorf("%q in the shape", shorten(p.rest))
		}
		p.rest, sizes = p.rest[digits:], append(sizes, int(size))
		comma = p.next(",")
	}
	if len(sizes) == 1 && !comma { // (3) is a number in Python
		return nil, fmt.Errorf("the shape is no tuple")
	}
	return sizes, nil
}
