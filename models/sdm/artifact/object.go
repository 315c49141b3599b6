package artifact

import (
	"fmt"

	"github.com/credence-ml/credence/models/internal/strictjson"
)

// object takes an object's fields one by one. The first error sticks; end wants that nothing is left.
type object struct {
	fields strictjson.Object
	err    error
}

func open(value []byte) *object {
	o := &object{}
	o.fields, o.err = strictjson.Parse(value)
	return o
}

func (o *object) take(key string, parse func(value []byte) error) {
	value := o.fields.Take(key)
	if o.err != nil {
		return
	}
	if value == nil {
		o.err = fmt.Errorf("no %s", key)
	} else if err := parse(value); err != nil {
		o.err = fmt.Errorf("%s: %w", key, err)
	}
}

// optional takes a field that need not be there.
func (o *object) optional(key string, parse func(value []byte) error) {
	if o.fields.Get(key) != nil {
		o.take(key, parse)
	}
}

func (o *object) string(key string, to *string) {
	o.take(key, func(v []byte) (err error) { *to, err = strictjson.String(v); return err })
}

// text takes a string or null.
func (o *object) text(key string, to **string) {
	o.take(key, func(v []byte) error { return parseText(v, to) })
}

func parseText(v []byte, to **string) error {
	if strictjson.IsNull(v) {
		return nil
	}
	s, err := strictjson.String(v)
	*to = &s
	return err
}

func (o *object) int(key string, to *int, low, high int64) {
	o.take(key, func(v []byte) error {
		n, err := strictjson.Int(v, low, high)
		*to = int(n)
		return err
	})
}

func (o *object) int32(key string, to *int32, low, high int64) {
	o.take(key, func(v []byte) error {
		n, err := strictjson.Int(v, low, high)
		*to = int32(n)
		return err
	})
}

func parseFloat32(v []byte, to *float32) error {
	wide, err := strictjson.Float(v)
	if *to = float32(wide); err == nil && isInf(*to) {
		err = fmt.Errorf("%s is no finite float32", v)
	}
	return err
}

func (o *object) float32(key string, to *float32) {
	o.take(key, func(v []byte) error { return parseFloat32(v, to) })
}

func (o *object) float32s(key string, to *[]float32) {
	o.take(key, func(v []byte) (err error) { *to, err = strictjson.Float32s([]float32{}, v); return err })
}

// constant wants exactly this string.
func (o *object) constant(key, want string) {
	o.take(key, func(v []byte) error {
		if got, err := strictjson.String(v); err != nil || got != want {
			return fmt.Errorf("%s: want %q", v, want)
		}
		return nil
	})
}

// object takes an object all of whose fields parse knows.
func (o *object) object(key string, parse func(o *object)) {
	o.take(key, func(v []byte) error {
		inner := open(v)
		parse(inner)
		return inner.end()
	})
}

func (o *object) end() error {
	if o.err == nil && len(o.fields) > 0 {
		return fmt.Errorf("field %q is not known in this version", o.fields[0].Key)
	}
	return o.err
}
