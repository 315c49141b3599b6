package runtime

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/credence-ml/credence/ops"
)

func TestWhatARunBringsAlong(t *testing.T) {
	at := func(base, n int64) ops.Place {
		return ops.Place{DType: ops.F32, Shape: ops.Dims(n), Strides: []int64{4}, Base: base}
	}
	elsewhere, strided := at(0, 16), at(64, 16)
	elsewhere.Slot, strided.Strides = 1, []int64{8}
	for name, c := range map[string]struct {
		outputs []ops.Place
		want    []span
	}{
		"nothing":                 {nil, nil},
		"one":                     {[]ops.Place{at(64, 1)}, []span{{64, 68, 0}}},
		"neighbours are one copy": {[]ops.Place{at(0, 16), at(64, 1), at(fetchGap+68, 1)}, []span{{0, fetchGap + 72, 0}}},
		"the same twice":          {[]ops.Place{at(64, 16), at(64, 16), at(64, 4)}, []span{{64, 128, 0}}},
		"too far":                 {[]ops.Place{at(0, 16), at(fetchGap+65, 1)}, []span{{0, 64, 0}, {fetchGap + 65, fetchGap + 69, 64}}},
		"too large": {[]ops.Place{at(0, 16), at(64, fetchBytes/4), at(fetchBytes+64, 1)},
			[]span{{0, 64, 0}, {fetchBytes + 64, fetchBytes + 68, 64}}},
		"just fits":            {[]ops.Place{at(0, fetchBytes/4)}, []span{{0, fetchBytes, 0}}},
		"empty":                {[]ops.Place{at(64, 0)}, nil},
		"elsewhere or strided": {[]ops.Place{elsewhere, strided}, nil},
	} {
		var f fetched
		f.plan(&ops.Program{Outputs: c.outputs}, nil)
		assert.Equal(t, c.want, f.spans, name)
		f.memory = make([]byte, fetchBytes)
		for i := range f.memory {
			f.memory[i] = byte(i)
		}
		f.arena = &nativeBuffer{}
		for _, x := range f.spans {
			got := make([]byte, 4)
			assert.True(t, f.copyTo(got, f.arena, x.to-4), name)
			assert.Equal(t, byte(x.at+x.to-x.from-1), got[3], name)
			assert.False(t, f.copyTo(got, f.arena, x.to-3), name)
			assert.False(t, f.copyTo(got, &nativeBuffer{}, x.from), "another buffer")
		}
		last := f.arena
		f.drop()
		assert.False(t, f.copyTo(nil, last, 0), name)
	}
}
