package sparse

// Activity counts active neurons of the feed-forward layers, layer by layer. It costs nothing: the counts are a
// by-product of skipping the others.
type Activity struct {
	Neurons int     // of a layer
	Tokens  int64   // that were counted; 0 where every neuron is computed
	Active  []int64 // by layer, summed over tokens
	Last    []int32 // by layer, of the last token
}

func newActivity(c *Config) Activity {
	return Activity{Neurons: c.Intermediate, Active: make([]int64, c.Layers), Last: make([]int32, c.Layers)}
}

// add counts a submission's neurons, [layers, tokens].
func (a *Activity) add(active []int32, tokens int) {
	a.Tokens += int64(tokens)
	for layer := range a.Active {
		row := active[layer*tokens : (layer+1)*tokens]
		for _, n := range row {
			a.Active[layer] += int64(n)
		}
		a.Last[layer] = row[tokens-1]
	}
}

// Sparsity is the share of neurons of a layer that were zero, over all tokens counted; 0 if none were.
func (a *Activity) Sparsity(layer int) float64 {
	if a.Tokens == 0 {
		return 0
	}
	return 1 - float64(a.Active[layer])/(float64(a.Neurons)*float64(a.Tokens))
}

// Mean is the mean of the layers' Sparsity.
func (a *Activity) Mean() float64 {
	sum := 0.0
	for layer := range a.Active {
		sum += a.Sparsity(layer)
	}
	return sum / float64(max(1, len(a.Active)))
}
