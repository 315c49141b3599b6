// Package metrics measures predictions and their uncertainty: accuracy, proper scores, calibration, selective
// prediction, discrimination, intervals, conformal ranks and the overlap of distributions. Everything is computed in
// float64 and does not depend on the order of the examples.
package metrics

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// ProbabilityFloor bounds from below the probability whose logarithm NLL takes, so that one impossible label does not
// make the mean infinite.
const ProbabilityFloor = 1e-12

// Classification is what the measures need to know of a classifier's answers to labelled examples.
type Classification struct {
	Predicted  []int     // the most probable class, the lowest where several are equal
	Confidence []float64 // its probability
	Correct    []bool
	nll, brier []float64
}

// NewClassification takes n rows of class probabilities, [n, classes] row by row, and the n labels. Rows must be
// probabilities: from 0 to 1, with a sum within 0.001 of 1.
func NewClassification[T float32 | float64](probabilities []T, classes int, labels []int32) (*Classification, error) {
	n := len(labels)
	if n == 0 || classes < 1 || len(probabilities) != n*classes {
		return nil, fmt.Errorf("%d probabilities for %d labels of %d classes: want one row for each of at least one label", len(probabilities), n, classes)
	}
	c := &Classification{make([]int, n), make([]float64, n), make([]bool, n), make([]float64, n), make([]float64, n)}
	for i, label := range labels {
		if label < 0 || int(label) >= classes {
			return nil, fmt.Errorf("label %d of example %d is outside 0..%d", label, i, classes-1)
		}
		row, sum, best := probabilities[i*classes:(i+1)*classes], 0., 0
		for k, p := range row {
			if !(p >= 0 && p <= 1.001) {
				return nil, fmt.Errorf("probability %v of class %d for example %d is outside 0..1", p, k, i)
			}
			sum += float64(p)
			if p > row[best] {
				best = k
			}
			d := float64(p)
			if k == int(label) {
				d--
			}
			c.brier[i] += d * d
		}
		if math.Abs(sum-1) > 1e-3 {
			return nil, fmt.Errorf("the probabilities of example %d have the sum %v", i, sum)
		}
		c.Predicted[i], c.Confidence[i], c.Correct[i] = best, float64(row[best]), best == int(label)
		c.nll[i] = -math.Log(max(float64(row[label]), ProbabilityFloor))
	}
	return c, nil
}

// Accuracy is the fraction of correct predictions.
func (c *Classification) Accuracy() float64 { return 1 - risk(c.Correct) }

// NLL is the mean negative natural logarithm of the label's probability (no less than ProbabilityFloor).
func (c *Classification) NLL() float64 { return mean(c.nll) }

// Brier is the mean over examples of the squared differences from the one-hot label, summed over classes
// (Brier, Monthly Weather Review 78, 1950): 0 is perfect, 2 the worst.
func (c *Classification) Brier() float64 { return mean(c.brier) }

// ECE is the expected calibration error of the top probability, see Reliability.
func (c *Classification) ECE(bins int) float64 { return ECE(c.Reliability(bins)) }

// Reliability compares confidence and accuracy in bins of equal width.
func (c *Classification) Reliability(bins int) []Bin {
	return reliability(c.Confidence, c.Correct, bins)
}

// AURC is the area under the risk-coverage curve with the top probability as confidence.
func (c *Classification) AURC() float64 {
	area, _ := riskCoverage(c.Confidence, c.Correct)
	return area
}

// RiskCoverage is the risk-coverage curve with the top probability as confidence.
func (c *Classification) RiskCoverage() []CoveragePoint {
	_, curve := riskCoverage(c.Confidence, c.Correct)
	return curve
}

// Bin is one bin of a reliability diagram. An empty bin has Count 0 and zero means.
type Bin struct {
	Low, High            float64 // confidences above Low up to High; the first bin has 0 too
	Count                int
	Confidence, Accuracy float64 // means
}

func reliability(confidence []float64, correct []bool, bins int) []Bin {
	list := make([]Bin, bins)
	for b := range list {
		list[b].Low, list[b].High = float64(b)/float64(bins), float64(b+1)/float64(bins)
	}
	for i, p := range confidence {
		b, _ := slices.BinarySearchFunc(list, p, func(bin Bin, p float64) int {
			if bin.High >= p {
				return 1
			}
			return -1
		})
		bin := &list[min(b, bins-1)]
		bin.Count++
		bin.Confidence += p
		if correct[i] {
			bin.Accuracy++
		}
	}
	for b := range list {
		if n := float64(list[b].Count); n > 0 {
			list[b].Confidence /= n
			list[b].Accuracy /= n
		}
	}
	return list
}

// ECE is the mean over examples of |accuracy - confidence| of their bins (Naeini, Cooper and Hauskrecht, AAAI 2015; Guo
// et al., ICML 2017).
func ECE(bins []Bin) float64 {
	sum, n := 0., 0.
	for _, b := range bins {
		sum += float64(b.Count) * math.Abs(b.Accuracy-b.Confidence)
		n += float64(b.Count)
	}
	return sum / n
}

// CoveragePoint is a point of the risk-coverage curve: if only predictions with a confidence of at least Threshold
// count, the fraction Coverage of the examples is answered and the fraction Risk of the answers is wrong.
type CoveragePoint struct{ Threshold, Coverage, Risk float64 }

// RiskCoverage is the curve for any measure of confidence, from the most confident examples to all of them, with one
// point for each distinct confidence.
func RiskCoverage(confidence []float64, correct []bool) ([]CoveragePoint, error) {
	if err := checkConfidence(confidence, correct); err != nil {
		return nil, err
	}
	_, curve := riskCoverage(confidence, correct)
	return curve, nil
}

// AURC is the area under the risk-coverage curve: the mean, over i from 1 to n, of the fraction of errors among the i
// most confident examples (Geifman, Uziel and El-Yaniv, ICLR 2019). Of equal confidences every order is as good as
// another, and the mean over all of them is taken: after j of m equal examples with e errors, j e/m have come.
func AURC(confidence []float64, correct []bool) (float64, error) {
	if err := checkConfidence(confidence, correct); err != nil {
		return 0, err
	}
	area, _ := riskCoverage(confidence, correct)
	return area, nil
}

func checkConfidence(confidence []float64, correct []bool) error {
	if len(confidence) != len(correct) || len(correct) == 0 {
		return fmt.Errorf("%d confidences and %d verdicts: want as many, at least one", len(confidence), len(correct))
	}
	return checkNumbers("confidence", confidence)
}

func riskCoverage(confidence []float64, correct []bool) (area float64, curve []CoveragePoint) {
	order := make([]int, len(confidence))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return compare(confidence[j], confidence[i]) })
	n, seen, errorsSeen := float64(len(order)), 0, 0
	for seen < len(order) {
		threshold, m, e := confidence[order[seen]], 0, 0
		for seen+m < len(order) && confidence[order[seen+m]] == threshold {
			if !correct[order[seen+m]] {
				e++
			}
			m++
		}
		for j := 1; j <= m; j++ {
			area += (float64(errorsSeen) + float64(e)*float64(j)/float64(m)) / float64(seen+j)
		}
		seen, errorsSeen = seen+m, errorsSeen+e
		curve = append(curve, CoveragePoint{threshold, float64(seen) / n, float64(errorsSeen) / float64(seen)})
	}
	return area / n, curve
}

// AUROC is the probability that a positive example scores above a negative one, equal scores counting half (Mann and
// Whitney, 1947): the area under the ROC curve of telling them apart by the score.
func AUROC(negative, positive []float64) (float64, error) {
	if len(negative) == 0 || len(positive) == 0 {
		return 0, fmt.Errorf("AUROC of %d negative and %d positive scores: want at least one of each", len(negative), len(positive))
	}
	if err := errors.Join(checkNumbers("negative score", negative), checkNumbers("positive score", positive)); err != nil {
		return 0, err
	}
	negative, positive = slices.Sorted(slices.Values(negative)), slices.Sorted(slices.Values(positive))
	below, upTo, wins := 0, 0, 0.
	for _, p := range positive {
		for below < len(negative) && negative[below] < p {
			below++
		}
		for upTo < len(negative) && negative[upTo] <= p {
			upTo++
		}
		wins += float64(below) + float64(upTo-below)/2
	}
	return wins / float64(len(negative)) / float64(len(positive)), nil
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func checkNumbers(what string, values []float64) error {
	for i, v := range values {
		if math.IsNaN(v) {
			return fmt.Errorf("%s %d is NaN", what, i)
		}
	}
	return nil
}

func risk(correct []bool) float64 {
	wrong := 0
	for _, c := range correct {
		if !c {
			wrong++
		}
	}
	return float64(wrong) / float64(len(correct))
}

func mean(values []float64) float64 {
	sum := 0.
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
