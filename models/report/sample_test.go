package report

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/metrics"
)

// go test ./models/report -run SamplePage -args -out sample.html
var out = flag.String("out", "", "where to write the sample page, to look at it")

// ring is a picture of a ring with a gap that turns with the class.
func ring(class int, random *rand.Rand, channels int) Picture {
	const size = 28
	p := Picture{size, size, channels, nil}
	radius, gap := 8+random.NormFloat64(), 2*math.Pi*float64(class)/10
	for y := range size {
		for x := range size {
			dx, dy := float64(x)-13.5, float64(y)-13.5
			v := 2*math.Exp(-math.Pow(math.Hypot(dx, dy)-radius, 2)/3) - 1
			if math.Cos(math.Atan2(dy, dx)-gap) > .8 {
				v = -1
			}
			for c := range channels {
				p.Pixels = append(p.Pixels, float32(v*(1-.3*float64(c))+.05*random.NormFloat64()))
			}
		}
	}
	return p
}

// samplePage uses every block once, in the way a model report would.
func samplePage() *Page {
	random := rand.New(rand.NewPCG(1, 2))
	var prototypes, nearest Grid
	prototypes = Grid{Title: "Prototypes: the mean and samples of each class", Size: 56, Caption: "Decoded from the class's distribution in latent space. Names may be hostile: <script>alert(1)</script>"}
	var distances []Sample
	var scatter []Group
	var bars []Bar
	for k := range 10 {
		row := GridRow{Label: fmt.Sprint("digit ", k), Class: k, Coloured: true}
		for i := range 9 {
			cell := GridCell{Picture: ring(k, random, 1)}
			if i == 0 {
				cell.Caption = "mean"
			}
			row.Cells = append(row.Cells, cell)
		}
		prototypes.Rows = append(prototypes.Rows, row)
		mean := [2]float64{4 * math.Cos(float64(k)*.628) * (1 + .1*float64(k)), 4 * math.Sin(float64(k)*.628)}
		covariance := [2][2]float64{{1, .3 * float64(k%3-1)}, {.3 * float64(k%3-1), .5}}
		group := Group{Name: fmt.Sprint(k), Class: k, Mean: mean, Covariance: &covariance}
		for range 150 {
			u, v := random.NormFloat64(), random.NormFloat64()
			group.X = append(group.X, mean[0]+u)
			group.Y = append(group.Y, mean[1]+covariance[0][1]*u+math.Sqrt(.5-covariance[0][1]*covariance[0][1])*v)
		}
		scatter = append(scatter, group)
		bars = append(bars, Bar{Label: fmt.Sprint("digit ", k), Value: 6 - 3*math.Abs(float64(k)-4) + .3, Class: k, Strong: k == 4})
	}
	for i, name := range []string{"digit 4", "digit 9", "digit 7"} {
		s := Sample{Name: name, Class: []int{4, 9, 7}[i]}
		for range 50 {
			s.Values = append(s.Values, 20+12*float64(i)*float64(i)+6*random.NormFloat64())
		}
		distances = append(distances, s)
	}
	nearest = Grid{Title: "Input, reconstruction and the nearest training examples", Size: 96, Rows: []GridRow{{Cells: []GridCell{
		{ring(4, random, 1), "input", Neutral}, {ring(4, random, 1), "reconstruction", Neutral}, {ring(4, random, 1), "train 48213", Good},
		{ring(9, random, 3), "train 102", Bad}}}}}

	known, unknown := Sample{Name: "MNIST", Class: 0}, Sample{Name: "Fashion-MNIST", Class: 1}
	var confidence []float64
	var correct []bool
	for range 4000 {
		known.Values = append(known.Values, math.Exp(.35*random.NormFloat64()))
		if random.IntN(2) == 0 {
			unknown.Values = append(unknown.Values, 2.5*math.Exp(.4*random.NormFloat64()))
		}
		c := 1 - .6*math.Pow(random.Float64(), 3)
		confidence, correct = append(confidence, c), append(correct, random.Float64() < c-.06*(1-c)*4)
	}
	area, _ := metrics.AURC(confidence, correct)
	curve, _ := metrics.RiskCoverage(confidence, correct)
	probabilities, labels := make([]float64, 0, 8000), make([]int32, 0, 4000)
	for i, c := range confidence {
		probabilities = append(probabilities, c, 1-c)
		label := int32(0)
		if !correct[i] {
			label = 1
		}
		labels = append(labels, label)
	}
	classification, _ := metrics.NewClassification(probabilities, 2, labels)

	heat := HeatTable{Title: "Confusion: where the errors are", RowTitle: "true", ColumnTitle: "predicted", Format: "%.0f"}
	weights := HeatTable{Title: "Classifier weights", RowTitle: "prototype", ColumnTitle: "class", Format: "%.2f"}
	for i := range 10 {
		heat.Rows, heat.Columns = append(heat.Rows, fmt.Sprint(i)), append(heat.Columns, fmt.Sprint(i))
		var a, b []float64
		for j := range 10 {
			if a = append(a, math.Floor(5*random.Float64()*random.Float64())); i == j {
				a[j] = 0
			}
			b = append(b, .03*random.NormFloat64())
			if i == j {
				b[j] = -.5 + .05*random.NormFloat64()
			}
		}
		heat.Values, weights.Values = append(heat.Values, a), append(weights.Values, b)
	}
	weights.Rows, weights.Columns = heat.Rows, heat.Columns

	loss := []Series{{Name: "training", Class: 0}, {Name: "held out", Class: 1}}
	for e := range 12 {
		for s := range loss {
			loss[s].X = append(loss[s].X, float64(e+1))
			loss[s].Y = append(loss[s].Y, 1.8*math.Exp(-.3*float64(e))+.1*float64(s)+.02*random.Float64())
		}
	}
	return &Page{
		Title: "Digits that explain themselves", Subtitle: "Probabilistic prototypes, full covariance, 40 latent dimensions",
		Facts:  []Fact{{"data", "MNIST, 60,000 training images"}, {"seed", "1"}, {"model", "digits.safetensors"}, {"device", "cpu"}},
		Footer: "Written by credence. Nothing on this page was loaded from elsewhere.",
		Blocks: []Block{
			Section{"At a glance", "10,000 test images that the model has never seen.", []Block{
				Figures{{"accuracy", "99.1 %", "98.9 to 99.3", Good}, {"NLL", "0.031", "", Neutral}, {"Brier", "0.014", "", Neutral},
					{"ECE", "0.4 %", "15 bins", Neutral}, {"flagged unfamiliar", "5.2 %", "of fresh digits", Caution}, {"caught", "97.4 %", "of Fashion-MNIST", Good}},
				Callout{Good, "Trusted", []string{"The closest class explains the input alone.", "Every score is within what 95 % of held-out digits show."}},
				Callout{Caution, "Ambiguous: digit 4 or digit 9", []string{"Their distance distributions overlap by 43 %."}},
				Callout{Bad, "Unfamiliar", []string{"Farther from its prototypes than 99.7 % of held-out digits."}},
			}},
			Section{"One prediction", "Why this input is called a 4.", []Block{
				nearest,
				Columns{
					Densities{Title: "Distance to the prototypes", XLabel: "squared distance", Samples: distances, Marks: []Mark{{24, "this input"}, {61, "95 % threshold"}},
						Caption: "Over 50 joint samples of the prototypes."},
					Bars{Title: "What each class adds to the logit of digit 4", Bars: bars},
				},
				Meters{Title: "Scores against held-out data", Meters: []Meter{{"predictive entropy", .41, .95, ""}, {"explanation percentile", .973, .95, ""}, {"reconstruction", .12, .95, ""}},
					Caption: "The mark is the threshold that 5 % of fresh digits pass."},
			}},
			Section{"The model", "", []Block{
				prototypes,
				Columns{
					Scatter{Title: "Latent space, two principal directions", XLabel: "first direction", YLabel: "second direction", Groups: scatter,
						Highlights: []Highlight{{2, 1, "this input"}}, Caption: "Ellipses at one and two standard deviations."},
					weights,
				},
			}},
			Section{"How far to trust it", "", []Block{
				Columns{
					Reliability{Title: "Reliability", Bins: classification.Reliability(15), Caption: "Red is the gap between confidence and accuracy; lines are 95 % intervals."},
					RiskCoverage{Title: "Risk and coverage", Curves: []RiskCurve{{fmt.Sprintf("top probability (AURC %.4f)", area), 0, curve}}},
				},
				Columns{
					Histogram{Title: "Combined score, familiar and not", XLabel: "score", Samples: []Sample{known, unknown}, Marks: []Mark{{1.8, "threshold"}}},
					heat,
				},
				Table{Title: "Against Fashion-MNIST", Caption: "AUROC with 95 % bootstrap intervals.",
					Columns: []Column{{"score", false}, {"AUROC", true}, {"interval", true}, {"flagged", true}},
					Rows: [][]Cell{{{Text: "predictive entropy"}, {Text: ".911"}, {Text: ".905 to .917"}, {Text: "41 %"}},
						{{Text: "explanation percentile"}, {Text: ".931"}, {Text: ".926 to .936"}, {Text: "72 %", Tone: Caution}},
						{{Text: "combined", Strong: true}, {Text: ".993", Strong: true}, {Text: ".991 to .995"}, {Text: "97 %", Tone: Good}}}},
				Details{"Training history", []Block{Lines{Title: "Loss", XLabel: "epoch", YLabel: "loss", Series: loss, FromZero: true}}},
				Text("A paragraph of text with <angle brackets> & ampersands."),
			}},
		},
	}
}

func TestSamplePage(t *testing.T) {
	p := samplePage()
	path := t.TempDir() + "/sample.html"
	if *out != "" {
		path = *out
	}
	require.NoError(t, p.Save(path))
	info, err := os.Stat(path)
	require.NoError(t, err)
	t.Logf("%d bytes", info.Size())
}
