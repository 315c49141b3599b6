// Package planner is the byte model of activation-sparse networks: decoding one token is bound by the bytes of the
// weights it reads, so what is not read bounds what can be saved. A measured speed is judged by its share of the bound.
package planner

import (
	"fmt"
	"math"
)

// FFN describes one feed-forward block and what is known of its zeros.
type FFN struct {
	Matrices int     // 3: gate, up and down; 2: the form without a gate
	Sparsity float64 // share of inactive neurons, 0 to 1
	// Predictor is the size of a predictor, relative to the block; a sixteenth and more are published.
	Predictor float64
}

// Bounds are the largest possible speed-ups over reading all weights.
type Bounds struct {
	GateFirst float64 `json:"gate_first"` // exact: the first matrix is read whole, the others where the gate is open
	Steps     float64 `json:"steps"`      // of the later matrices alone
	Predicted float64 `json:"predicted"`  // a perfect predictor in place of the dense gate
}

// Check reports what cannot be.
func (f FFN) Check() error {
	if f.Matrices != 2 && f.Matrices != 3 {
		return fmt.Errorf("a block of %d matrices; 2 or 3 are known", f.Matrices)
	}
	if !(f.Sparsity >= 0 && f.Sparsity <= 1) || !(f.Predictor >= 0) || math.IsInf(f.Predictor, 1) {
		return fmt.Errorf("sparsity %g and a predictor of %g of the block; 0 to 1, and 0 or more, are needed", f.Sparsity, f.Predictor)
	}
	return nil
}

// Bounds counts bytes: with a share a of active neurons and n matrices, n / (1 + (n - 1) a), 1 / a, and
// 1 / (predictor + a). All are infinite if nothing needs to be read.
func (f FFN) Bounds() Bounds {
	n, active := float64(f.Matrices), 1-f.Sparsity
	return Bounds{GateFirst: n / (1 + (n-1)*active), Steps: 1 / active, Predicted: 1 / (f.Predictor + active)}
}

// EndToEnd is the bound of a whole token where the block's speed-up holds for a share of the bytes that a token reads.
func EndToEnd(speedup, share float64) float64 { return 1 / (1 - share + share/speedup) }

// Union is the share of neurons that some row of a batch needs if the rows are independent. Rows that follow each other
// in a text overlap more.
func Union(active float64, rows int) float64 { return 1 - math.Pow(1-active, float64(rows)) }
