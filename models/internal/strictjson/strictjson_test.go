package strictjson

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseKeepsFieldsAsTheyAre(t *testing.T) {
	o, err := Parse([]byte(` {"id": "aé\n", "big":18446744073709551615, "low":-9223372036854775808, "o" : {"x":[1, 2.50]} , "n":null, "f":1e-400}` + "\n"))
	require.NoError(t, err)
	id, err := String(o.Take("id"))
	require.NoError(t, err)
	assert.Equal(t, "aé\n", id)
	assert.Nil(t, o.Take("ID"), "keys are matched letter for letter")
	assert.Equal(t, json.RawMessage("18446744073709551615"), o.Take("big"))
	assert.Equal(t, json.RawMessage(`{"x":[1, 2.50]}`), o.Take("o"))
	assert.True(t, IsNull(o.Take("n")))
	assert.Len(t, o, 2)
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		``:                           "no object",
		`[1]`:                        "no object",
		`{"a":1,"a":2}`:              `key "a" appears twice`,
		`{"a":1,"\u0061":2}`:         `key "a" appears twice`,
		`{"a":{"b":1,"b":1}}`:        `key "b" appears twice`,
		`{"a":[{"b":1,"b":1}]}`:      `key "b" appears twice`,
		`{"a":18446744073709551616}`: "outside [-2^63, 2^64-1]",
		`{"a":-9223372036854775809}`: "outside [-2^63, 2^64-1]",
		`{"a":1e400}`:                "not finite",
		`{"a":1` + strings.Repeat("0", 400) + `}`:   "outside",
		`{"a":1` + strings.Repeat("0", 400) + `.0}`: "not finite",
		`{"a":NaN}`:                        "where a value was due",
		`{"a":Infinity}`:                   "where a value was due",
		`{"a":-Infinity}`:                  "a number that JSON does not know",
		`{"a":01}`:                         "a number that JSON does not know",
		`{"a":1.}`:                         "no digits",
		`{"a":1e}`:                         "exponent",
		`{"a":+1}`:                         "where a value was due",
		`{"a":"` + "\xff" + `"}`:           "not UTF-8",
		`{"` + "\xff" + `":1}`:             "not UTF-8",
		`{"a":"` + "\x01" + `"}`:           "control character",
		`{"a":"\ud800"}`:                   "half of a surrogate pair",
		`{"a":"\ud800\u0041"}`:             "half of a surrogate pair",
		`{"a":"\x"}`:                       "an escape",
		`{"a":"\u12"}`:                     "an escape",
		`{"a":"b`:                          "without end",
		`{"a":1,}`:                         "no key",
		`{"a":1 "b":2}`:                    "no comma",
		`{"a" 1}`:                          "no colon",
		`{"a":1}{`:                         "something follows",
		`{"a":[1,]}`:                       "where a value was due",
		`{"a":[1`:                          "no comma",
		`{"a":`:                            "ends",
		`{a:1}`:                            "no key",
		`{"a":` + strings.Repeat("[", 200): "nested deeper",
	} {
		_, err := Parse([]byte(text))
		require.Error(t, err, text)
		if want == "no digits" {
			want = "without digits"
		}
		assert.Contains(t, err.Error(), want, text)
	}
}

func TestManyKeys(t *testing.T) {
	var b strings.Builder
	for i := range 100 {
		b.WriteString(strings.Repeat("k", i+1) + `":1,"`)
	}
	_, err := Parse([]byte(`{"` + b.String() + `last":1}`))
	require.NoError(t, err)
	_, err = Parse([]byte(`{"` + b.String() + `kkk":1}`))
	assert.ErrorContains(t, err, `key "kkk" appears twice`)
}

func TestValues(t *testing.T) {
	f, err := Float32s([]float32{7}, []byte(`[1, -2.5e0,3]`))
	require.NoError(t, err)
	assert.Equal(t, []float32{7, 1, -2.5, 3}, f)
	_, err = Float32s(nil, []byte(`[1,1e39]`))
	assert.ErrorContains(t, err, "element 1: 1e39 is no finite float32")
	_, err = Float32s(nil, []byte(`[1,"2"]`))
	assert.ErrorContains(t, err, `want a number, not "2"`)
	_, err = Float32s(nil, []byte(`[null]`))
	assert.ErrorContains(t, err, "want a number, not null")
	_, err = Float32s(nil, []byte(`1`))
	assert.ErrorContains(t, err, "want an array")
	wide, err := Float64s([]byte(`[1e-3,2]`))
	require.NoError(t, err)
	assert.Equal(t, []float64{1e-3, 2}, wide)
	_, err = Float64s([]byte(`[true]`))
	assert.ErrorContains(t, err, "element 0")
	n, err := Int([]byte(`-99`), -99, 10)
	require.NoError(t, err)
	assert.EqualValues(t, -99, n)
	for _, bad := range []string{"1.0", "1e0", "11", "9223372036854775808", `"1"`, "true", ""} {
		_, err = Int([]byte(bad), -99, 10)
		assert.ErrorContains(t, err, "want an integer from -99 to 10", bad)
	}
	_, err = String([]byte(`1`))
	assert.ErrorContains(t, err, "want a string, not 1")
}

// FuzzParse: what is accepted, encoding/json accepts as well.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":[1,2.5e-3,{"b":"\ud83d\ude00"}],"c":-9223372036854775808}`, `{"a":1,"a":1}`, `{"a":1e400}`, `[`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := Parse(text)
		if err != nil {
			return
		}
		if !json.Valid(text) {
			t.Fatalf("accepted, but not JSON: %q", text)
		}
		var m map[string]json.RawMessage
		if err := json.Unmarshal(text, &m); err != nil || len(m) != len(o) {
			t.Fatalf("%d fields, encoding/json has %d: %v", len(o), len(m), err)
		}
	})
}
