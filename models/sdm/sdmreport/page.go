package sdmreport

import (
	"fmt"
	"strings"

	"github.com/credence-ml/credence/models/metrics"
	"github.com/credence-ml/credence/models/report"
	"github.com/credence-ml/credence/models/sdm"
)

const footer = "Written by credence sdm evaluate. Nothing on this page is loaded from elsewhere."

// Page lays the report out.
func (r *Report) Page(facts ...report.Fact) *report.Page {
	m := &r.Model
	facts = append(facts, report.Fact{Name: "support", Value: fmt.Sprintf("%d rows in %d dimensions", m.Support, m.ExemplarDimension)},
		report.Fact{Name: "features", Value: fmt.Sprint(m.Features)}, report.Fact{Name: "regions", Value: fmt.Sprintf("%d, alpha in steps of %v", len(m.Regions), m.AlphaResolution)})
	page := &report.Page{Title: "What this model answers for", Facts: facts, Footer: footer,
		Subtitle: "Predictions accepted or rejected by similarity to what is known, distance from it, and the size of the output."}
	page.Blocks = []report.Block{r.glance(), r.alphas(), r.cells(), r.reasons(), r.calibration()}
	if len(r.Comparison) > 0 {
		page.Blocks = append(page.Blocks, r.comparison())
	}
	page.Blocks = append(page.Blocks, r.regions())
	return page
}

func percent(v float64) string {
	if v > .999 && v < 1 || v > 0 && v < .001 {
		return fmt.Sprintf("%.2f %%", 100*v)
	}
	return fmt.Sprintf("%.1f %%", 100*v)
}

func percentOf(v *float64) string {
	if v == nil {
		return "none"
	}
	return percent(*v)
}

// interval is the 95 % interval of a share (Wilson), "" of nothing.
func interval(k, n int) string {
	i, err := metrics.Wilson(k, n, .95)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%.1f to %.1f %%", 100*i.Low, 100*i.High)
}

func (r *Report) correct() (right, n int) {
	for i := range r.Evaluation.ByTrueClass {
		c := &r.Evaluation.ByTrueClass[i]
		n += c.Count
		if c.Accuracy != nil {
			right += int(*c.Accuracy*float64(c.Count) + .5)
		}
	}
	return right, n
}

func (s *Selection) correct() (right int) {
	for _, c := range s.ByTrue {
		right += c.Correct
	}
	return right
}

// headline is the comparison at 0.95, or the first.
func (r *Report) headline() *Comparison {
	for i := range r.Comparison {
		if r.Comparison[i].Alpha == .95 {
			return &r.Comparison[i]
		}
	}
	return &r.Comparison[0]
}

func (r *Report) glance() report.Block {
	right, n := r.correct()
	c := r.headline()
	own := &c.Methods[0]
	figures := report.Figures{
		{Label: "accuracy without rejection", Value: percent(float64(right) / float64(n)), Remark: "95 % interval " + interval(right, n)},
		{Label: fmt.Sprintf("accepted at alpha %v", c.Alpha), Value: percent(own.Share), Remark: fmt.Sprintf("%d of %d rows", own.Admitted, n)},
		{Label: "right among them", Value: percentOf(own.Accuracy), Remark: intervalOr(own.correct(), own.Admitted, "nothing is claimed")}}
	if worst := least(own.ByTrue); worst >= 0 {
		cell := own.ByTrue[worst]
		figures = append(figures, report.Figure{Label: "least of the classes", Value: percent(cell.Accuracy()), Remark: fmt.Sprintf("%s, %d accepted", r.Model.Classes[worst], cell.Count)})
	}
	for i, f := range r.Foreign {
		tone := report.Good
		if own.Foreign[i] > .01 {
			tone = report.Caution
		}
		figures = append(figures, report.Figure{Label: "accepted of " + f.Name, Value: percent(own.Foreign[i]), Remark: fmt.Sprintf("of %d rows unlike the training data", f.Rows), Tone: tone})
	}
	s := report.Section{Title: "At a glance", Intro: fmt.Sprintf("Scores of %d rows with known classes. The figures mean what they say if these rows had no part in training and calibration.", n), Blocks: []report.Block{figures}}
	s.Blocks = append(s.Blocks, r.verdict())
	if r.Model.CalibrationStale {
		s.Blocks = append(s.Blocks, report.Callout{Tone: report.Bad, Title: "The calibration is stale", Lines: []string{"The support was edited after the regions were found. Recalibrate before relying on what is accepted."}})
	}
	var lines []string
	for i := range r.Comparison {
		c := &r.Comparison[i]
		if better := c.Better(); len(better) > 0 {
			var names []string
			for i := range better {
				names = append(names, r.described(&better[i]))
			}
			lines = append(lines, fmt.Sprintf("At alpha %v: %s; %s.", c.Alpha, strings.Join(names, ", "), r.described(&c.Methods[0])))
		}
	}
	if lines != nil {
		s.Blocks = append(s.Blocks, report.Callout{Tone: report.Caution, Title: "On these data, simple alternatives accept more and keep alpha as well", Lines: lines})
	}
	return s
}

// described is what a method accepts, of the foreign rows too.
func (r *Report) described(s *Selection) string {
	text := s.Method + " " + percent(s.Share)
	for i, share := range s.Foreign {
		text += fmt.Sprintf(" (and %s of %s)", percent(share), r.Foreign[i].Name)
	}
	return text
}

func intervalOr(k, n int, none string) string {
	if text := interval(k, n); text != "" {
		return "95 % interval " + text
	}
	return none
}

// verdict says whether alpha was kept.
func (r *Report) verdict() report.Block {
	var broken, kept []string
	for i := range r.Comparison {
		c := &r.Comparison[i]
		own := &c.Methods[0]
		switch {
		case own.Admitted == 0:
			kept = append(kept, fmt.Sprintf("At alpha %v nothing is accepted, so nothing is claimed.", c.Alpha))
		case own.Kept:
			worst := least(own.ByTrue)
			kept = append(kept, fmt.Sprintf("At alpha %v, %s of the accepted rows of the worst class are right (%s, %d of %d).", c.Alpha, percent(own.ByTrue[worst].Accuracy()),
				r.Model.Classes[worst], own.ByTrue[worst].Correct, own.ByTrue[worst].Count))
		default:
			worst := least(own.ByTrue)
			broken = append(broken, fmt.Sprintf("At alpha %v, only %s of the accepted rows of class %s are right (%d of %d), which chance does not explain.", c.Alpha,
				percent(own.ByTrue[worst].Accuracy()), r.Model.Classes[worst], own.ByTrue[worst].Correct, own.ByTrue[worst].Count))
		}
	}
	if broken != nil {
		return report.Callout{Tone: report.Bad, Title: "It does not keep its word on these data", Lines: append(broken, kept...)}
	}
	return report.Callout{Tone: report.Good, Title: "It keeps its word on these data", Lines: kept}
}

// alphas shows what every region accepts.
func (r *Report) alphas() report.Block {
	e := r.Evaluation
	s := report.Section{Title: "What each alpha accepts",
		Intro: "A row is accepted at alpha if a region of at least alpha takes it. Of the rows of every class that are accepted, a share of at least alpha should be right. The lower rule also wants that at the end of the band around the distance that speaks against the row."}
	if len(e.Centroid.Alphas) == 0 {
		s.Blocks = []report.Block{report.Callout{Tone: report.Caution, Title: "The model has no region", Lines: []string{"On its calibration rows no alpha above one half could be kept in every class, so it accepts nothing: it is too weak, or the rows are too few."}}}
		return s
	}
	accepted, worst := report.Lines{Title: "How many are accepted", XLabel: "alpha", YLabel: "accepted, in %"}, report.Lines{Title: "How many of the worst class are right", XLabel: "alpha", YLabel: "right, in %"}
	table := report.Table{Columns: []report.Column{{Title: "alpha", Numbers: true}, {Title: "rule"}, {Title: "accepted", Numbers: true}, {Title: "share", Numbers: true}, {Title: "right", Numbers: true},
		{Title: "least by true class", Numbers: true}, {Title: "least by prediction", Numbers: true}}}
	for i, rule := range []struct {
		name string
		e    *sdm.RuleEvaluation
	}{{"centroid", &e.Centroid}, {"lower", &e.Lower}} {
		share, right := report.Series{Name: rule.name, Class: i}, report.Series{Name: rule.name, Class: i}
		for _, a := range rule.e.Alphas {
			table.Rows = append(table.Rows, []report.Cell{{Text: fmt.Sprint(a.Alpha)}, {Text: rule.name}, {Text: fmt.Sprint(a.Count)}, {Text: percent(a.Share)}, {Text: percentOf(a.Accuracy)},
				leastCell(a.ByTrueClass, a.Alpha), leastCell(a.ByPrediction, a.Alpha)})
			share.X, share.Y = append(share.X, a.Alpha), append(share.Y, 100*a.Share)
			if w := leastAccuracy(a.ByTrueClass); w != nil {
				right.X, right.Y = append(right.X, a.Alpha), append(right.Y, 100**w)
			}
		}
		accepted.Series, worst.Series = append(accepted.Series, share), append(worst.Series, right)
	}
	first, last := e.Centroid.Alphas[len(e.Centroid.Alphas)-1].Alpha, e.Centroid.Alphas[0].Alpha
	worst.Series = append(worst.Series, report.Series{Name: "alpha", Class: 7, X: []float64{first, last}, Y: []float64{100 * first, 100 * last}})
	worst.Caption = "Above the line of alpha the word is kept."
	s.Blocks = []report.Block{report.Columns{accepted, worst}, report.Details{Summary: "All regions in numbers", Blocks: []report.Block{table}}}
	return s
}

func leastAccuracy(cells []sdm.Cell) (least *float64) {
	for i := range cells {
		if a := cells[i].Accuracy; a != nil && (least == nil || *a < *least) {
			least = a
		}
	}
	return least
}

func leastCell(cells []sdm.Cell, alpha float64) report.Cell {
	w := leastAccuracy(cells)
	c := report.Cell{Text: percentOf(w)}
	if w != nil && *w < alpha {
		c.Tone = report.Caution
	}
	return c
}

// cells shows the accuracy and number of accepted rows by class at the alphas of the comparison.
func (r *Report) cells() report.Block {
	s := report.Section{Title: "Class by class", Intro: "Accuracy of the accepted rows and their number, by what they are and by what they were taken for. Nothing accepted is no number: nothing is claimed."}
	for _, c := range r.Comparison {
		table := report.Table{Title: fmt.Sprintf("At alpha %v", c.Alpha), Columns: []report.Column{{Title: "class"}}}
		for _, rule := range c.Methods[:2] {
			table.Columns = append(table.Columns, report.Column{Title: rule.Method + ": is the class", Numbers: true}, report.Column{Title: "taken for the class", Numbers: true})
		}
		for class, name := range r.Model.Classes {
			row := []report.Cell{{Text: name}}
			for _, rule := range c.Methods[:2] {
				row = append(row, cellText(rule.ByTrue[class], c.Alpha), cellText(rule.ByPred[class], c.Alpha))
			}
			table.Rows = append(table.Rows, row)
		}
		row := []report.Cell{{Text: "all", Strong: true}}
		for i := range c.Methods[:2] {
			rule := &c.Methods[i]
			all := cellText(Cell{rule.Admitted, rule.correct()}, c.Alpha)
			all.Strong = true
			row = append(row, all, report.Cell{})
		}
		table.Rows = append(table.Rows, row)
		if c.Alpha == r.headline().Alpha {
			s.Blocks = append([]report.Block{table}, s.Blocks...)
		} else {
			s.Blocks = append(s.Blocks, report.Details{Summary: table.Title, Blocks: []report.Block{table}})
		}
	}
	return s
}

func cellText(c Cell, alpha float64) report.Cell {
	if c.Count == 0 {
		return report.Cell{Text: "none"}
	}
	cell := report.Cell{Text: fmt.Sprintf("%s of %d", percent(c.Accuracy()), c.Count)}
	if i, err := metrics.ClopperPearson(c.Correct, c.Count, .95); err == nil && i.High < alpha {
		cell.Tone = report.Bad
	} else if c.Accuracy() < alpha {
		cell.Tone = report.Caution
	}
	return cell
}

// reasonNames are what readers see, in the order in which reasons are looked for.
var reasonNames = []struct {
	reason sdm.Reason
	text   string
}{
	{sdm.ReasonUnlike, "nothing similar (q = 0)"},
	{sdm.ReasonFar, "too far (d = 0)"},
	{sdm.ReasonNoRegion, "no region of this alpha"},
	{sdm.ReasonSimilarity, "similarity below the region"},
	{sdm.ReasonOutput, "output below the threshold"},
	{sdm.ReasonFewRows, "band too wide (few calibration rows)"},
}

// reasons shows why rows are not accepted.
func (r *Report) reasons() report.Block {
	s := report.Section{Title: "Why the others are rejected", Intro: "The first of these that applies, in this order."}
	alphas := r.Evaluation.Centroid.Alphas
	if len(alphas) == 0 {
		s.Blocks = []report.Block{report.Text("Every row is rejected, for want of a region.")}
		return s
	}
	at := 0
	for i := range alphas { // the last that is still at least the headline's alpha
		if alphas[i].Alpha >= r.headline().Alpha-1e-9 {
			at = i
		}
	}
	a := alphas[at]
	bars := report.Bars{Title: fmt.Sprintf("At alpha %v, in %% of all %d rows", a.Alpha, r.Evaluation.Rows), Format: "%.2f",
		Caption: "q = 0: the nearest support row is of another class than the prediction, or was taken for the wrong one itself. d = 0: the row is farther from the support than any calibration row of some class."}
	for i, n := range reasonNames {
		if count := a.Reasons[n.reason]; count > 0 {
			bars.Bars = append(bars.Bars, report.Bar{Label: n.text, Value: 100 * float64(count) / float64(r.Evaluation.Rows), Class: i})
		}
	}
	table := report.Table{Columns: []report.Column{{Title: "alpha", Numbers: true}, {Title: "rule"}}}
	for _, n := range reasonNames {
		table.Columns = append(table.Columns, report.Column{Title: n.text, Numbers: true})
	}
	for _, rule := range []struct {
		name string
		e    *sdm.RuleEvaluation
	}{{"centroid", &r.Evaluation.Centroid}, {"lower", &r.Evaluation.Lower}} {
		for _, a := range rule.e.Alphas {
			row := []report.Cell{{Text: fmt.Sprint(a.Alpha)}, {Text: rule.name}}
			for _, n := range reasonNames {
				row = append(row, report.Cell{Text: fmt.Sprint(a.Reasons[n.reason])})
			}
			table.Rows = append(table.Rows, row)
		}
	}
	s.Blocks = []report.Block{bars, report.Details{Summary: "At every alpha, in rows", Blocks: []report.Block{table}}}
	return s
}

func (r *Report) calibration() report.Block {
	var bins []metrics.Bin
	for _, b := range r.Reliability {
		bins = append(bins, metrics.Bin{Low: b.Low, High: b.High, Count: b.N, Confidence: b.Confidence, Accuracy: b.Accuracy})
	}
	risk := report.RiskCoverage{Title: "What leaving out the doubtful ones gains", Caption: "How many answers are wrong if only the most trusted are given, by each score. AURC is the area under the curve: the mean risk over all coverages."}
	for i, c := range r.RiskCoverage {
		curve := report.RiskCurve{Name: fmt.Sprintf("%s (AURC %.4f)", c.Method, c.AURC), Class: i}
		for _, p := range c.Points {
			curve.Points = append(curve.Points, metrics.CoveragePoint{Coverage: p.Coverage, Risk: p.Risk})
		}
		risk.Curves = append(risk.Curves, curve)
	}
	return report.Section{Title: "Its outputs", Blocks: []report.Block{report.Columns{
		report.Reliability{Title: "Are the outputs probabilities?", Bins: bins, Caption: fmt.Sprintf("Of the answers with an output of 80 %%, 80 %% should be right: bars should end on the dashed line. Calibration error %s in 15 bins. At d = 0 the output is one over the number of classes whatever the answer is: it says that nothing is known, not that the answer is wrong.", percent(r.ECE15))}, risk}}}
}

// comparison sets the alternatives beside SDM.
func (r *Report) comparison() report.Block {
	s := report.Section{Title: "Beside the simple alternatives",
		Intro: "The others take the predictions of a linear classifier on the same features (adaptor softmax: those of SDM's own) and trust them by a score, whose threshold is the lowest that keeps alpha in every class of the calibration rows. An answer whose class accuracy is below alpha by more than chance explains is marked."}
	if len(r.Comparison[0].Methods) == 2 {
		s.Intro = "Without training and calibration rows there is nothing to fit alternatives to (credence sdm evaluate --training, --calibration)."
	}
	for _, c := range r.Comparison {
		table := report.Table{Title: fmt.Sprintf("At alpha %v", c.Alpha), Columns: []report.Column{{Title: "method"}, {Title: "accepted", Numbers: true}, {Title: "right", Numbers: true},
			{Title: "least by true class", Numbers: true}, {Title: "least by prediction", Numbers: true}, {Title: "AURC", Numbers: true}}}
		for _, f := range r.Foreign {
			table.Columns = append(table.Columns, report.Column{Title: "accepted of " + f.Name, Numbers: true})
		}
		for i := range c.Methods {
			table.Rows = append(table.Rows, r.comparisonRow(&c, i))
		}
		s.Blocks = append(s.Blocks, table)
	}
	var why []string
	for _, m := range r.Comparison[0].Methods {
		why = append(why, m.Method+": "+m.Why+".")
	}
	s.Blocks = append(s.Blocks, report.Details{Summary: "What the methods are", Blocks: []report.Block{report.Text(strings.Join(why, " "))}})
	return s
}

func (r *Report) comparisonRow(c *Comparison, i int) []report.Cell {
	m := &c.Methods[i]
	row := []report.Cell{{Text: m.Method, Strong: i == 0}, {Text: percent(m.Share)}, {Text: percentOf(m.Accuracy)}}
	if !m.Reached {
		row[1].Text = "none: alpha is out of reach"
	}
	for by, cells := range [][]Cell{m.ByTrue, m.ByPred} {
		cell := report.Cell{Text: "none"}
		if worst := least(cells); worst >= 0 {
			cell.Text = fmt.Sprintf("%s (%s)", percent(cells[worst].Accuracy()), r.Model.Classes[worst])
			if by == 0 && !m.Kept {
				cell.Tone = report.Bad
			}
		}
		row = append(row, cell)
	}
	area := report.Cell{}
	if m.AURC != nil {
		area.Text = fmt.Sprintf("%.4f", *m.AURC)
	}
	row = append(row, area)
	for _, share := range m.Foreign {
		cell := report.Cell{Text: percent(share)}
		if share > .01 {
			cell.Tone = report.Caution
		}
		row = append(row, cell)
	}
	return row
}

// regions shows the thresholds.
func (r *Report) regions() report.Block {
	table := report.Table{Columns: []report.Column{{Title: "alpha", Numbers: true}, {Title: "least similarity q'", Numbers: true}}}
	for _, name := range r.Model.Classes {
		table.Columns = append(table.Columns, report.Column{Title: name, Numbers: true})
	}
	for _, region := range r.Model.Regions {
		row := []report.Cell{{Text: fmt.Sprint(region.Alpha)}, {Text: fmt.Sprintf("%.4g", region.MinimumSimilarity)}}
		for _, t := range region.Thresholds {
			row = append(row, report.Cell{Text: fmt.Sprintf("%.4f", t)})
		}
		table.Rows = append(table.Rows, row)
	}
	return report.Section{Title: "The regions", Intro: "What a row needs to be accepted: the similarity, and the output for the class it is taken for.", Blocks: []report.Block{report.Details{Summary: "Thresholds", Blocks: []report.Block{table}}}}
}
