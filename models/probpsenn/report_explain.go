package probpsenn

import (
	"fmt"
	"math"

	"github.com/credence-ml/credence/models/report"
)

// footer ends every page.
const footer = "Written by Credence. The page is whole in itself: nothing on it is loaded from anywhere."

// verdictTones colour the verdicts.
var verdictTones = map[Verdict]report.Tone{Trusted: report.Good, Ambiguous: report.Caution, Unfamiliar: report.Bad}

// verdictTitles are the verdicts as sentences; %s is the class.
var verdictTitles = map[Verdict]string{
	Trusted:    "Trusted: it is what the model is used to taking for %s",
	Ambiguous:  "Ambiguous: %s explains it best, and not alone",
	Unfamiliar: "Unfamiliar: unlike what the model has learned as %s, its nearest class",
	Uncertain:  "No verdict: %s is the most probable class",
}

// Page is the explanation as a self-contained page. Facts stand beside its title.
func (x *Explanation) Page(facts ...report.Fact) *report.Page {
	p := &x.Prediction
	if x.Input.Source != "" {
		facts = append(facts, report.Fact{Name: "input", Value: fmt.Sprintf("%s, number %d", x.Input.Source, x.Input.Index)})
	}
	if l := x.Input.Label; l != nil {
		facts = append(facts, report.Fact{Name: "true class", Value: x.Model.name(*l)})
	}
	facts = append(facts, report.Fact{Name: "prototypes", Value: x.Model.describe()},
		report.Fact{Name: "samples", Value: fmt.Sprintf("%d of each", x.Model.Samples)})
	if x.Model.Calibration > 0 {
		facts = append(facts, report.Fact{Name: "calibrated on", Value: fmt.Sprintf("%d held-out inputs", x.Model.Calibration)})
	}
	page := &report.Page{Title: fmt.Sprintf("Class %s, probability %s", x.Class, percent(p.Probability)), Facts: facts, Footer: footer,
		Subtitle: "What the model answered, why, and how sure it is of the answer and of the reason."}
	page.Blocks = []report.Block{x.answerSection(), x.prototypeSection(), x.distanceSection(), x.logitSection(), x.uncertaintySection()}
	return page
}

func (s *ModelSummary) name(class int) string {
	if class < 0 || class >= len(s.ClassNames) {
		return fmt.Sprint(class)
	}
	return s.ClassNames[class]
}

// describe is the kind of the prototypes in words.
func (s *ModelSummary) describe() string {
	text := map[PrototypeKind]string{Full: "Gaussians, full covariance", Diag: "Gaussians, diagonal covariance",
		Mixture: "mixtures of two Gaussians", Point: "points"}[s.Prototypes]
	if s.PerClass > 1 {
		text = fmt.Sprintf("%d per class, %s", s.PerClass, text)
	}
	return fmt.Sprintf("%s in %d dimensions", text, s.Latent)
}

// title is the class with its role.
func (y *ClassExplanation) title() string {
	if y.Role == "" {
		return y.Name
	}
	return y.Name + ": " + y.Role
}

func (x *Explanation) answerSection() report.Block {
	p := &x.Prediction
	title, tone := fmt.Sprintf(verdictTitles[p.Verdict], x.Class), verdictTones[p.Verdict]
	verdict := report.Callout{Tone: tone, Title: title, Lines: x.Reasons}
	figures := report.Figures{
		{Label: "class", Value: x.Class, Remark: "probability " + percent(p.Probability), Tone: tone},
		{Label: "next best", Value: x.Classes[1].Name, Remark: "probability " + percent(x.Classes[1].Probability)},
		{Label: "uncertainty of the class", Value: fmt.Sprintf("%.3f", p.PredictiveEntropy), Remark: fmt.Sprintf("entropy; at most %.2f", math.Log(float64(len(p.Probabilities))))},
	}
	if !math.IsNaN(p.Scores.Unfamiliarity) {
		figures = append(figures, report.Figure{Label: "stranger than", Value: percent(p.Scores.Unfamiliarity), Remark: "of held-out inputs"},
			report.Figure{Label: "less certain than", Value: percent(p.Scores.Ambiguity), Remark: "of held-out inputs"})
	}
	s := report.Section{Title: "The answer", Blocks: []report.Block{verdict, figures}}
	if x.Picture != nil {
		s.Blocks = append(s.Blocks, report.Grid{Size: 132, Rows: []report.GridRow{{Cells: []report.GridCell{
			{Picture: *x.Picture, Caption: "the input"}, {Picture: *x.Reconstruction, Caption: "reconstruction"},
			{Picture: *x.Difference, Caption: "the difference"}}}},
			Caption: fmt.Sprintf("The input, the picture that the model makes of its own description of it (%d numbers), and where the two differ. What the model cannot draw it does not know: mean squared error %s per pixel.",
				x.Model.Latent, terse(p.Scores.Reconstruction))})
	}
	return s
}

// cast classes are those with a role.
func (x *Explanation) withRole() (list []*ClassExplanation) {
	for i := range x.Classes {
		if x.Classes[i].Role != "" {
			list = append(list, &x.Classes[i])
		}
	}
	return list
}

func (x *Explanation) prototypeSection() report.Block {
	drawn := report.Grid{Title: "Prototypes: what the model takes the classes to look like", Size: 76}
	drawn.Caption = "On the left the middle of each distribution, then draws from it, the most like the input first. The number is the squared distance between draw and input in the model's description. Short distances speak for a class."
	if x.Model.Prototypes == Point {
		drawn.Caption = "The prototypes of this model are points: one picture for each, and no uncertainty. The number is the squared distance from the input in the model's description."
	}
	near := report.Grid{Title: "The nearest training examples of these prototypes", Size: 76,
		Caption: "Real data on which the prototypes rest, with the number in the training data and the squared distance from the input. A red frame is an example of another class."}
	table := report.Table{Title: near.Title, Columns: []report.Column{{Title: "prototype of"}, {Title: "training example", Numbers: true},
		{Title: "its class"}, {Title: "distance from prototype", Numbers: true}, {Title: "distance from input", Numbers: true}}}
	for _, y := range x.withRole() {
		for _, q := range y.Prototypes {
			row := report.GridRow{Label: y.title(), Class: y.Class, Coloured: true}
			examples := row
			for _, mean := range q.Means {
				row.Cells = append(row.Cells, report.GridCell{Picture: *mean, Caption: "mean"})
			}
			for _, s := range q.Samples {
				if s.Picture != nil && x.Model.Prototypes != Point {
					row.Cells = append(row.Cells, report.GridCell{Picture: *s.Picture, Caption: terse(s.Distance)})
				}
			}
			if x.Model.Prototypes == Point && len(row.Cells) > 0 {
				row.Cells[0].Caption = terse(q.Mean)
			}
			for _, t := range q.Examples {
				table.Rows = append(table.Rows, []report.Cell{{Text: y.Name}, {Text: fmt.Sprint(t.Index)}, {Text: x.Model.name(t.Label)},
					{Text: terse(t.Distance)}, {Text: terse(t.InputDistance)}})
				if t.Picture == nil {
					continue
				}
				cell := report.GridCell{Picture: *t.Picture, Caption: fmt.Sprintf("no. %d at %s", t.Index, terse(t.InputDistance))}
				if t.Label != y.Class {
					cell.Tone = report.Bad
				}
				examples.Cells = append(examples.Cells, cell)
			}
			if len(row.Cells) > 0 {
				drawn.Rows = append(drawn.Rows, row)
			}
			if len(examples.Cells) > 0 {
				near.Rows = append(near.Rows, examples)
			}
		}
	}
	s := report.Section{Title: "What it was compared with",
		Intro: "Each class is known to the model as a probability distribution over descriptions of pictures: its prototype. Nothing but the distances to draws from these distributions decides."}
	if len(drawn.Rows) > 0 {
		s.Blocks = append(s.Blocks, drawn)
	}
	switch {
	case len(near.Rows) > 0:
		s.Blocks = append(s.Blocks, near)
	case len(table.Rows) > 0:
		s.Blocks = append(s.Blocks, table)
	}
	for _, note := range x.Notes {
		s.Blocks = append(s.Blocks, report.Text(note))
	}
	return s
}

func (x *Explanation) distanceSection() report.Block {
	densities := report.Densities{Title: "Distances from the input to draws from the prototypes", XLabel: "squared distance",
		Caption: "Where curves overlap, the classes explain the input equally well. A wide curve is a reason of which the model itself is unsure."}
	table := report.Table{Title: "Every class", Columns: []report.Column{{Title: "class"}, {Title: "probability", Numbers: true}, {Title: "distance, mean", Numbers: true},
		{Title: "exact", Numbers: true}, {Title: "deviation", Numbers: true}, {Title: "exact", Numbers: true}, {Title: "overlap", Numbers: true}, {Title: "farther than", Numbers: true}},
		Caption: "Distance over the draws and in closed form (exact); overlap with the distances of the predicted class; and the share of held-out inputs predicted to be of the class that are nearer to it."}
	for i := range x.Classes {
		y := &x.Classes[i]
		if y.Role != "" {
			sample := report.Sample{Name: y.title(), Class: y.Class}
			for _, q := range y.Prototypes {
				sample.Values = append(sample.Values, q.Distances...)
			}
			densities.Samples = append(densities.Samples, sample)
		}
		for j, q := range y.Prototypes {
			row := []report.Cell{{Text: y.Name, Strong: i == 0}, {}, {Text: terse(q.Mean)}, {Text: terse(q.ExpectedMean)}, {Text: terse(q.Deviation)}, {Text: terse(q.ExpectedDeviation)}, {}, {}}
			if j == 0 {
				row[1].Text, row[6].Text, row[7].Text = percent(y.Probability), share(y.Overlap), share(y.Percentile)
			}
			table.Rows = append(table.Rows, row)
		}
	}
	bars := report.Bars{Title: "Mean distance from each class", Format: "%.4g", Caption: "The shorter the bar, the more the class looks like the input."}
	for class := range x.Model.ClassNames {
		for i := range x.Classes {
			if y := &x.Classes[i]; y.Class == class {
				bars.Bars = append(bars.Bars, report.Bar{Label: y.Name, Value: y.Distance, Class: class, Strong: i == 0})
			}
		}
	}
	return report.Section{Title: "How far it is from each class", Blocks: []report.Block{report.Columns{densities, bars},
		report.Details{Summary: "Every class in numbers", Blocks: []report.Block{table}}}}
}

func (x *Explanation) logitSection() report.Block {
	probabilities := report.Bars{Title: "Probability of each class", Format: "%.3f", Caption: "The mean over all draws of the prototypes."}
	first, second := x.Classes[0].Class, x.Classes[1].Class
	why := report.Bars{Title: fmt.Sprintf("Why %s rather than %s", x.Classes[0].Name, x.Classes[1].Name), Format: "%+.3g"}
	total := 0.0
	for k, row := range x.Contributions {
		class := k / x.Model.PerClass
		v := row[first] - row[second]
		total += v
		why.Bars = append(why.Bars, report.Bar{Label: "distance from " + x.Model.name(class), Value: v, Class: class, Strong: class == first || class == second})
	}
	why.Caption = fmt.Sprintf("What the distance from each prototype adds to the difference of the two classes' scores: to the right for %s, to the left for %s. A distance counts against its own class, so what matters is which of the two is the longer. Together %+.3g.",
		x.Classes[0].Name, x.Classes[1].Name, total)
	if total < 0 {
		why.Caption += fmt.Sprintf(" On the mean distances alone the answer would be %s; averaged over the probabilities of all draws it is %s.", x.Classes[1].Name, x.Classes[0].Name)
	}
	for class, v := range x.Prediction.Probabilities {
		probabilities.Bars = append(probabilities.Bars, report.Bar{Label: x.Model.name(class), Value: v, Class: class, Strong: class == first})
	}
	heat := report.HeatTable{Title: "What each prototype adds to each class's score", RowTitle: "distance from", ColumnTitle: "score of class", Format: "%.1f",
		Columns: x.Model.ClassNames, Values: x.Contributions,
		Caption: "Mean distance times the weight of the last layer. A column's sum is the class's score; the probabilities are the softmax of the scores, averaged over the draws."}
	for k := range x.Contributions {
		heat.Rows = append(heat.Rows, x.Model.name(k/x.Model.PerClass))
	}
	return report.Section{Title: "From distances to the answer",
		Intro:  "A class's score is a weighted sum of the distances, and there is nothing else between them and the answer.",
		Blocks: []report.Block{report.Columns{probabilities, why}, report.Details{Summary: "All contributions", Blocks: []report.Block{heat}}}}
}

func (x *Explanation) uncertaintySection() report.Block {
	p := &x.Prediction
	s := report.Section{Title: "How sure, and of what"}
	parts := report.Bars{Title: "Uncertainty of the class", Format: "%.4f", Bars: []report.Bar{
		{Label: "in all", Value: p.PredictiveEntropy, Class: p.Label, Strong: true},
		{Label: "the classes are alike", Value: p.AleatoricEntropy, Class: p.Label},
		{Label: "the draw decides", Value: p.MutualInformation, Class: p.Label}},
		Caption: "Entropy in nats. The second part stays whichever prototypes are drawn; the third is the disagreement between the draws: what the model's own uncertainty about its prototypes does to the answer."}
	if x.Model.Prototypes == Point {
		parts.Caption = "Entropy in nats. Point prototypes have no draws that could disagree, so the third part is zero."
	}
	if len(x.Ranks) == 0 {
		s.Blocks = []report.Block{parts}
		return s
	}
	meters := report.Meters{Title: fmt.Sprintf("Among held-out inputs that were taken for %s", x.Class),
		Caption: fmt.Sprintf("The share of them below this input, for each score. The first two bars decide the verdict; the mark is the limit, which %s of fresh inputs of the known kind pass.", percent(unfamiliarShare)),
		Meters: []report.Meter{{Label: "all scores together", Value: p.Scores.Unfamiliarity, Threshold: 1 - unfamiliarShare, Text: percent(p.Scores.Unfamiliarity)},
			{Label: "uncertainty of the class", Value: p.Scores.Ambiguity, Threshold: 1 - ambiguousShare, Text: percent(p.Scores.Ambiguity)}}}
	table := report.Table{Title: "The scores in numbers", Columns: []report.Column{{Title: "score"}, {Title: "value", Numbers: true}, {Title: "above", Numbers: true}, {Title: "surprise", Numbers: true}},
		Caption: "Surprise is minus the logarithm of the share of held-out inputs with a larger score, extrapolated beyond the largest. The sum is itself ranked among held-out inputs, which gives the first bar."}
	for _, r := range x.Ranks {
		if r.Score != "predictive_entropy" {
			meters.Meters = append(meters.Meters, report.Meter{Label: scoreNames[r.Score], Value: r.Percentile, Text: percent(r.Percentile)})
		}
		table.Rows = append(table.Rows, []report.Cell{{Text: scoreNames[r.Score]}, {Text: terse(r.Value)}, {Text: percent(r.Percentile)}, {Text: terse(r.Surprise)}})
	}
	table.Rows = append(table.Rows, []report.Cell{{Text: "all together", Strong: true}, {}, {Text: percent(p.Scores.Unfamiliarity), Strong: true}, {Text: terse(p.Scores.Combined), Strong: true}})
	s.Blocks = []report.Block{report.Columns{meters, parts}, report.Details{Summary: "The scores in numbers", Blocks: []report.Block{table}}}
	return s
}

// terse writes a number with three digits.
func terse(v float64) string {
	if a := math.Abs(v); a >= 1000 && a < 1e7 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

func share(v *float64) string {
	if v == nil {
		return ""
	}
	return percent(*v)
}
