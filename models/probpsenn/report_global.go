package probpsenn

import (
	"fmt"

	"github.com/credence-ml/credence/models/metrics"
	"github.com/credence-ml/credence/models/report"
)

// Page is the report as a self-contained page. Facts stand beside its title.
func (r *ModelReport) Page(facts ...report.Fact) *report.Page {
	if r.Source != "" {
		facts = append(facts, report.Fact{Name: "data", Value: fmt.Sprintf("%s, %d inputs", r.Source, r.Evaluation.N)})
	}
	facts = append(facts, report.Fact{Name: "prototypes", Value: r.Model.describe()},
		report.Fact{Name: "samples", Value: fmt.Sprintf("%d of each", r.Model.Samples)})
	if r.Model.Calibration > 0 {
		facts = append(facts, report.Fact{Name: "calibrated on", Value: fmt.Sprintf("%d held-out inputs", r.Model.Calibration)})
	}
	page := &report.Page{Title: "What this model knows, and how far to trust it", Facts: facts, Footer: footer,
		Subtitle: "A classifier that compares an input with prototypes, and says when the comparison means little."}
	page.Blocks = []report.Block{r.glanceSection(), r.prototypesSection()}
	if len(r.Verdicts) > 0 {
		page.Blocks = append(page.Blocks, r.verdictSection())
	}
	page.Blocks = append(page.Blocks, r.calibrationSection(), r.latentSection())
	if len(r.History) > 0 {
		page.Blocks = append(page.Blocks, r.historySection())
	}
	return page
}

// proportion is a share with its 95 % interval (Wilson).
func proportion(k, n int) (value, interval string) {
	if n == 0 {
		return "none", ""
	}
	i, err := metrics.Wilson(k, n, .95)
	if err != nil {
		return percent(float64(k) / float64(n)), ""
	}
	return percent(float64(k) / float64(n)), fmt.Sprintf("%.1f to %.1f %%", 100*i.Low, 100*i.High)
}

func (r *ModelReport) glanceSection() report.Block {
	v := &r.Evaluation
	right := 0
	for class, row := range r.Confusion {
		right += row[class]
	}
	accuracy, interval := proportion(right, v.N)
	figures := report.Figures{{Label: "accuracy", Value: accuracy, Remark: "95 % interval " + interval},
		{Label: "NLL", Value: fmt.Sprintf("%.3f", v.NLL), Remark: "nats per input"}, {Label: "Brier score", Value: fmt.Sprintf("%.3f", v.Brier), Remark: "0 is perfect, 2 the worst"},
		{Label: "calibration error", Value: percent(v.ECE15), Remark: "15 bins"}, {Label: "AURC", Value: fmt.Sprintf("%.4f", v.AURC), Remark: "risk over all coverages"}}
	s := report.Section{Title: "At a glance", Intro: fmt.Sprintf("Answers to %d labelled inputs that were not used for training.", v.N), Blocks: []report.Block{figures}}
	if len(r.Findings) == 0 {
		s.Blocks = append(s.Blocks, report.Callout{Tone: report.Good, Title: "The prototypes are sound", Lines: []string{
			"None has shrunk to a point, none reaches into another class, no two classes have the same, and every latent dimension is in use."}})
	} else {
		s.Blocks = append(s.Blocks, report.Callout{Tone: report.Caution, Title: "Signs of collapse", Lines: r.Findings})
	}
	return s
}

func (r *ModelReport) prototypesSection() report.Block {
	drawn := report.Grid{Title: "The mean of each prototype, on the left, and draws from it", Size: 68,
		Caption: "Decoded to pictures. Every draw is one of the pictures with which an input is compared; how much they vary is how much room the model gives the class."}
	if r.Model.Prototypes == Point {
		drawn.Title, drawn.Caption = "The prototypes", "Decoded to pictures. The prototypes of this model are points, so there is one picture for each."
	}
	near := report.Grid{Title: "The nearest training examples", Size: 68, Caption: "With their numbers in the training data. A red frame is an example of another class."}
	table := report.Table{Title: "The distributions in numbers",
		Columns: []report.Column{{Title: "prototype of"}, {Title: "total variance", Numbers: true}, {Title: "log-determinant", Numbers: true}, {Title: "effective dimension", Numbers: true},
			{Title: "filled by inputs", Numbers: true}, {Title: "draws taken for it", Numbers: true}, {Title: "nearest training examples (class)"}},
		Caption: fmt.Sprintf("Trace and log-determinant of the covariance; in how many of the %d directions it really spreads; the mean squared Mahalanobis distance of the inputs taken for the class, over that of its draws (1: they fill it, 0: they sit in its middle); and how many of its own draws the model takes for its class.", r.Model.Latent)}
	for i := range r.Prototypes {
		p := &r.Prototypes[i]
		row := report.GridRow{Label: p.Name, Class: p.Class, Coloured: true}
		examples := row
		for _, mean := range p.Means {
			row.Cells = append(row.Cells, report.GridCell{Picture: *mean})
		}
		for _, sample := range p.Samples {
			row.Cells = append(row.Cells, report.GridCell{Picture: *sample})
		}
		text := ""
		for _, x := range p.Examples {
			text += fmt.Sprintf("%d (%s)  ", x.Index, r.Model.name(x.Label))
			if x.Picture == nil {
				continue
			}
			cell := report.GridCell{Picture: *x.Picture, Caption: fmt.Sprint(x.Index)}
			if x.Label != p.Class {
				cell.Tone = report.Bad
			}
			examples.Cells = append(examples.Cells, cell)
		}
		number := func(v *float64) string {
			if v == nil {
				return ""
			}
			return terse(*v)
		}
		own := report.Cell{Text: percent(p.TakenFor[p.Class])}
		if p.TakenFor[p.Class] < ownShareLimit {
			own.Tone = report.Caution
		}
		table.Rows = append(table.Rows, []report.Cell{{Text: p.Name}, {Text: number(p.Trace)}, {Text: number(p.LogDet)}, {Text: number(p.EffectiveDimension)}, {Text: number(p.Fill)}, own, {Text: text}})
		if len(row.Cells) > 0 {
			drawn.Rows = append(drawn.Rows, row)
		}
		if len(examples.Cells) > 0 {
			near.Rows = append(near.Rows, examples)
		}
	}
	s := report.Section{Title: "What it takes the classes to look like"}
	if len(drawn.Rows) > 0 {
		s.Blocks = append(s.Blocks, drawn)
	}
	if len(near.Rows) > 0 {
		s.Blocks = append(s.Blocks, report.Details{Summary: "The nearest training examples of each prototype", Blocks: []report.Block{near}})
	}
	s.Blocks = append(s.Blocks, report.Details{Summary: "The distributions in numbers", Blocks: []report.Block{table}})
	for _, note := range r.Notes {
		s.Blocks = append(s.Blocks, report.Text(note))
	}
	return s
}

func (r *ModelReport) verdictSection() report.Block {
	table := report.Table{Columns: []report.Column{{Title: "verdict"}, {Title: "inputs", Numbers: true}, {Title: "share", Numbers: true}, {Title: "right among them", Numbers: true},
		{Title: "95 % interval", Numbers: true}, {Title: "mean probability", Numbers: true}, {Title: "share of all errors", Numbers: true}},
		Caption: fmt.Sprintf("On data like that of training, at most about %s are unfamiliar: that is how the limit was set, on held-out data. Ambiguous are those less certain than %s of it, with another class close behind.", percent(unfamiliarShare), percent(1-ambiguousShare))}
	s := report.Section{Title: "Its verdicts", Blocks: []report.Block{table}}
	errors := 0
	for _, v := range r.Verdicts {
		errors += v.Wrong
	}
	for _, v := range r.Verdicts {
		right, interval := proportion(v.N-v.Wrong, v.N)
		mean, shareOfErrors := "", "none"
		if v.Probability != nil {
			mean = percent(*v.Probability)
		}
		if errors > 0 {
			shareOfErrors = percent(float64(v.Wrong) / float64(errors))
		}
		table.Rows = append(table.Rows, []report.Cell{{Text: string(v.Verdict), Tone: verdictTones[v.Verdict]}, {Text: fmt.Sprint(v.N)}, {Text: percent(v.Share)},
			{Text: right, Strong: true}, {Text: interval}, {Text: mean}, {Text: shareOfErrors}})
		if g := r.inputs(&v, v.Inputs); len(g.Rows) > 0 {
			s.Blocks = append(s.Blocks, g)
		}
	}
	s.Blocks[0] = table
	for _, v := range r.Verdicts {
		if g := r.inputs(&v, v.Mistakes); v.Verdict == Trusted && len(g.Rows) > 0 {
			g.Title = "Trusted all the same, and wrong: its most confident mistakes"
			g.Caption = "What it took them for, with what probability, and what they are."
			s.Blocks = append(s.Blocks, g)
		}
	}
	return s
}

// inputs shows inputs of a verdict; no rows for feature vectors.
func (r *ModelReport) inputs(v *VerdictReport, list []ShownInput) report.Grid {
	g := report.Grid{Size: 68}
	switch v.Verdict {
	case Trusted:
		g.Title, g.Caption = "Trusted", "Each class in turn, with the probability of the answer."
	case Ambiguous:
		g.Title, g.Caption = "Ambiguous: the least certain", "The classes that explain the input, most probable first, and what it is. A red frame is a wrong answer."
	default:
		g.Title, g.Caption = "Unfamiliar: the strangest", "What it would be taken for, with what probability, and what it is. A red frame is a wrong answer."
	}
	var row report.GridRow
	for _, x := range list {
		if x.Picture == nil {
			continue
		}
		cell := report.GridCell{Picture: *x.Picture, Caption: fmt.Sprintf("%s, %s", r.Model.name(x.Predicted), percent(x.Probability))}
		if v.Verdict == Ambiguous {
			cell.Caption = r.Model.name(x.Predicted)
			for _, class := range x.Competing[:min(2, len(x.Competing))] {
				cell.Caption += ", " + r.Model.name(class)
			}
			if len(x.Competing) > 2 {
				cell.Caption += ", …"
			}
		}
		if v.Verdict != Trusted || x.Label != x.Predicted {
			cell.Caption += "; is " + r.Model.name(x.Label)
		}
		if x.Label != x.Predicted {
			cell.Tone = report.Bad
		}
		row.Cells = append(row.Cells, cell)
	}
	if len(row.Cells) > 0 {
		g.Rows = []report.GridRow{row}
	}
	return g
}

func (r *ModelReport) calibrationSection() report.Block {
	var bins []metrics.Bin
	for _, b := range r.Reliability {
		bins = append(bins, metrics.Bin{Low: b.Low, High: b.High, Count: b.N, Confidence: b.Confidence, Accuracy: b.Accuracy})
	}
	var curve []metrics.CoveragePoint
	for _, p := range r.RiskCoverage {
		curve = append(curve, metrics.CoveragePoint{Threshold: p.Threshold, Coverage: p.Coverage, Risk: p.Risk})
	}
	heat := report.HeatTable{Title: "Where the errors are", RowTitle: "is", ColumnTitle: "taken for", Format: "%.0f", Rows: r.Model.ClassNames, Columns: r.Model.ClassNames,
		Caption: "Numbers of inputs; those that are right are left out."}
	for i, row := range r.Confusion {
		values := make([]float64, len(row))
		for j, n := range row {
			if i != j {
				values[j] = float64(n)
			}
		}
		heat.Values = append(heat.Values, values)
	}
	return report.Section{Title: "Its probabilities", Blocks: []report.Block{report.Columns{
		report.Reliability{Title: "Does it keep its word?", Bins: bins, Caption: "Of the answers given with a probability of 80 %, 80 % should be right: bars should end on the dashed line. Thin lines are 95 % intervals; below, how many answers each bar has."},
		report.RiskCoverage{Title: "What leaving out the doubtful ones gains", Curves: []report.RiskCurve{{Name: fmt.Sprintf("by top probability (AURC %.4f)", r.Evaluation.AURC), Points: curve}},
			Caption: "How many answers are wrong if only the most probable are given."}}, heat}}
}

func (r *ModelReport) latentSection() report.Block {
	scatter := report.Scatter{Title: "The latent space, seen along its two widest directions", XLabel: "first principal component", YLabel: "second principal component"}
	scatter.Caption = fmt.Sprintf("%d inputs and the prototypes, projected from %d dimensions on two principal components (gonum's PCA), which have %s and %s of the variance; what overlaps here may be far apart in the others. Ellipses at one and two standard deviations.",
		len(r.Scatter.Points), r.Model.Latent, percent(r.Scatter.Explained[0]), percent(r.Scatter.Explained[1]))
	groups := make([]report.Group, len(r.Model.ClassNames))
	for class, name := range r.Model.ClassNames {
		groups[class] = report.Group{Name: name, Class: class}
	}
	for _, p := range r.Scatter.Points {
		groups[p.Label].X, groups[p.Label].Y = append(groups[p.Label].X, p.X), append(groups[p.Label].Y, p.Y)
	}
	for _, p := range r.Scatter.Prototypes {
		if g := &groups[p.Class]; g.Covariance == nil && p.Covariance != nil {
			g.Mean, g.Covariance = p.Mean, p.Covariance
			continue
		}
		scatter.Groups = append(scatter.Groups, report.Group{Name: "", Class: p.Class, Mean: p.Mean, Covariance: p.Covariance})
	}
	scatter.Groups = append(groups, scatter.Groups...)
	weights := report.HeatTable{Title: "The last layer: what a distance does to each class's score", RowTitle: "distance from", ColumnTitle: "score of class", Format: "%.2f",
		Columns: r.Model.ClassNames, Values: r.Weights, Caption: "It starts at -0.5 for a class and its own prototype and 0 elsewhere. A negative weight means: the farther, the less probable."}
	for k := range r.Weights {
		weights.Rows = append(weights.Rows, r.Model.name(k/r.Model.PerClass))
	}
	between := report.HeatTable{Title: "Distances between the classes", RowTitle: "class", ColumnTitle: "class", Format: "%.1f", Rows: r.Model.ClassNames, Columns: r.Model.ClassNames,
		Values: r.Spread.Bhattacharyya, Caption: "Bhattacharyya distance of the distributions: 0 is the same distribution, and above 3 they share less than 5 %."}
	if between.Values == nil {
		between.Values, between.Caption = r.Spread.MeanDistances, "Euclidean distance of the means."
	}
	taken := report.HeatTable{Title: "What the model takes its own draws for, in %", RowTitle: "drawn from", ColumnTitle: "taken for", Format: "%.0f", Rows: weights.Rows, Columns: r.Model.ClassNames,
		Caption: "100 on the diagonal means that every draw of a class's prototype is a picture that the model itself takes for the class."}
	for _, p := range r.Prototypes {
		row := make([]float64, len(p.TakenFor))
		for class, v := range p.TakenFor {
			row[class] = 100 * v
		}
		taken.Values = append(taken.Values, row)
	}
	return report.Section{Title: "Inside",
		Intro:  fmt.Sprintf("The data use %.1f of %d latent dimensions effectively; %d are dead.", r.Spread.EffectiveDimension, r.Model.Latent, len(r.Spread.DeadDimensions)),
		Blocks: []report.Block{report.Columns{scatter, report.Columns{weights}}, report.Columns{between, taken}}}
}

func (r *ModelReport) historySection() report.Block {
	loss, reconstruction := report.Series{Name: "classification (NLL)"}, report.Series{Name: "reconstruction", Class: 1}
	interpretation := report.Series{Name: "interpretation", Class: 2}
	joint := 0
	for i, h := range r.History {
		at := float64(i + 1)
		reconstruction.X, reconstruction.Y = append(reconstruction.X, at), append(reconstruction.Y, h.Reconstruction)
		if h.Phase != "joint" {
			continue
		}
		joint++
		loss.X, loss.Y = append(loss.X, at), append(loss.Y, h.NLL)
		interpretation.X, interpretation.Y = append(interpretation.X, at), append(interpretation.Y, h.Interpretation)
	}
	before := len(r.History) - joint
	return report.Section{Title: "How it was trained", Intro: fmt.Sprintf("%d epochs of the autoencoder alone, then %d of everything together. Means over each epoch.", before, joint),
		Blocks: []report.Block{report.Columns{
			report.Lines{Title: "Loss of classification", XLabel: "epoch", YLabel: "nats", Series: []report.Series{loss}, FromZero: true, Caption: "Over draws of the prototypes: an upper bound of the NLL of the answer."},
			report.Lines{Title: "Error of the reconstruction", XLabel: "epoch", YLabel: "mean squared error", Series: []report.Series{reconstruction}, FromZero: true},
			report.Lines{Title: "Interpretation term", XLabel: "epoch", YLabel: "nats", Series: []report.Series{interpretation}, Caption: "Minus the log-density of inputs under their own class's prototype, clipped as in the loss."}}}}
}
