package sparse

// Activity counts active neurons of the feed-forward layers, layer by layer. It costs nothing: the counts are a
// by-product of skipping the others. Models whose activation is never zero count nothing.
type Activity struct {
	Neurons     int     // of a layer
	Tokens      int64   // that were counted
	Submissions int64   // in which these tokens went through: one each when decoding, many together of a prompt
	Active      []int64 // by layer, summed over tokens
	Last        []int32 // by layer, of the last token
	UpRead      []int64 // by layer, summed over submissions: neurons whose up rows were read; of two matrices 0
	DownRead    []int64 // and whose down rows were
}

func newActivity(c *Config) Activity {
	n := c.Layers
	return Activity{Neurons: c.Intermediate, Active: make([]int64, n), Last: make([]int32, n), UpRead: make([]int64, n), DownRead: make([]int64, n)}
}

// add counts the active neurons of a layer for each token of a submission.
func (a *Activity) add(layer int, counts []int32) {
	for _, n := range counts {
		a.Active[layer] += int64(n)
	}
	a.Last[layer] = counts[len(counts)-1]
}

func (a *Activity) addRead(layer int, rows []int32) {
	a.UpRead[layer] += int64(rows[0])
	a.DownRead[layer] += int64(rows[1])
}

// Sparsity is the share of neurons of a layer that were zero, over all tokens counted; 0 if none were.
func (a *Activity) Sparsity(layer int) float64 {
	if a.Tokens == 0 {
		return 0
	}
	return 1 - float64(a.Active[layer])/(float64(a.Neurons)*float64(a.Tokens))
}

// Skipped is the share of a layer's down rows that were not read: below Sparsity where tokens went through together,
// since a row is read if one of them needs it.
func (a *Activity) Skipped(layer int) float64 {
	if a.Submissions == 0 {
		return 0
	}
	return 1 - float64(a.DownRead[layer])/(float64(a.Neurons)*float64(a.Submissions))
}

// Mean is the mean over layers of Sparsity or Skipped.
func (a *Activity) Mean(of func(layer int) float64) float64 {
	sum := 0.0
	for layer := range a.Active {
		sum += of(layer)
	}
	return sum / float64(max(1, len(a.Active)))
}
