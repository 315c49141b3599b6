package report_test

import (
	"os"
	"path/filepath"

	"github.com/credence-ml/credence/models/report"
)

func ExamplePage() {
	page := report.Page{
		Title: "A model and how far to trust it",
		Blocks: []report.Block{
			report.Section{Title: "At a glance", Blocks: []report.Block{
				report.Figures{{Label: "accuracy", Value: "99.1 %", Remark: "98.9 to 99.3", Tone: report.Good}},
				report.Densities{Title: "Distances", XLabel: "squared distance", Samples: []report.Sample{
					{Name: "class 0", Class: 0, Values: []float64{1, 2, 2.5, 4}},
					{Name: "class 1", Class: 1, Values: []float64{3, 5, 5.5, 7}},
				}},
			}},
		},
	}
	if err := page.Save(filepath.Join(os.TempDir(), "report.html")); err != nil {
		panic(err)
	}
}
