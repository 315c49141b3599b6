package sparse_test

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/credence-ml/credence/models/sparse"
	"github.com/credence-ml/credence/models/sparse/tokenizer"
	"github.com/credence-ml/credence/runtime"
)

func Example() {
	rt, err := runtime.Open(runtime.WithDevice("go"))
	if err != nil {
		panic(err)
	}
	defer rt.Close()
	checkpoint, err := sparse.Open(filepath.Join("testdata", "text"), sparse.OpenOptions{})
	if err != nil {
		panic(err)
	}
	text, err := checkpoint.Tokenizer()
	if err != nil {
		panic(err)
	}
	model, err := sparse.Load(rt, checkpoint, sparse.Options{})
	if err != nil {
		panic(err)
	}
	defer model.Close()
	session, err := model.NewSession(sparse.SessionOptions{Capacity: 32})
	if err != nil {
		panic(err)
	}
	defer session.Close()
	prompt, err := text.Encode("The harbour", true)
	if err != nil {
		panic(err)
	}
	g, err := session.Generate(context.Background(), prompt, sparse.GenerateOptions{MaxTokens: 5, IgnoreEnd: true}, func(token int) error { return nil })
	if err != nil {
		panic(err)
	}
	a := session.Activity()
	fmt.Printf("%d tokens, %q; some neurons were inactive: %v\n", len(g.Tokens), g.Stop, a.Mean(a.Sparsity) > 0)
	fmt.Println(tokenizer.Decode(text, prompt))
	// Output:
	// 5 tokens, "length"; some neurons were inactive: true
	// The harbour
}
