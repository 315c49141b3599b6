// Package sparse runs decoder-only transformers whose inactive neurons are not read: LLaMA's family, MiniCPM and OPT, from
// safetensors or GGUF.
//
//	checkpoint, err := sparse.Open("prosparse-7b", sparse.OpenOptions{})
//	model, err := sparse.Load(rt, checkpoint, sparse.Options{})
//	defer model.Close()
//	session, err := model.NewSession(sparse.SessionOptions{})
//	defer session.Close()
//	generation, err := session.Generate(ctx, tokens, sparse.GenerateOptions{MaxTokens: 100}, emit)
//
// Where a layer's activation is exactly zero (ReLU and its relatives) the neuron's rows of the other matrices take no
// part: the result is that of reading all, to the bit. Weights are mapped and shared by all sessions of a model; a session
// is one sequence with its keys and values. Logits are the same bits however a text is fed and at any number of threads.
package sparse
