package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/models/sdm"
	"github.com/credence-ml/credence/models/sdm/dataset"
)

func newSDMSupport(s *settings) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "support",
		Short: "Add, relabel and remove the rows that predictions are held against",
		Long: "Edits of the support change similarities, distances and nearest rows, never a prediction. They make the calibration\n" +
			"stale: the model says so until `credence sdm recalibrate --calibration C` has matched calibration rows anew.",
	})
	c.AddCommand(newSDMSupportAdd(s), newSDMSupportRelabel(s), newSDMSupportRemove(s))
	return c
}

// supportFlags are those that the edits share.
type supportFlags struct{ model, in, out, composition, ids string }

func (x *supportFlags) declare(c *cobra.Command, in string) {
	f := c.Flags()
	f.StringVar(&x.model, "model", "", "model")
	f.StringVar(&x.in, "in", "", in)
	f.StringVar(&x.out, "out", "", "where the edited model goes, published as a whole; it may be the one that is read")
}

// run edits a model and says what has become of it.
func (x *supportFlags) run(c *cobra.Command, s *settings, edit func(m *sdm.Model) error) error {
	if err := needed([2]string{"model", x.model}, [2]string{"out", x.out}); err != nil {
		return err
	}
	if err := checkModelDestination("--out", x.out); err != nil {
		return err
	}
	return withSDM(s, x.model, func(m *sdm.Model) error {
		before := len(m.Support())
		if err := edit(m); err != nil {
			return err
		}
		if err := m.Save(x.out); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "the support had %d rows and has %d; the model is %s\n", before, len(m.Support()), x.out)
		if m.CalibrationStale() {
			fmt.Fprintln(c.OutOrStdout(), "its calibration is of another support: credence sdm recalibrate --calibration brings it up to date")
		}
		return nil
	})
}

func newSDMSupportAdd(s *settings) *cobra.Command {
	var x supportFlags
	c := &cobra.Command{
		Use:   "add --model M --in X --out M2",
		Short: "Add labelled rows; the label -99 marks what is known to be like no class",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if x.in == "" {
				return errors.New("--in is needed: the rows to add")
			}
			return x.run(c, s, func(m *sdm.Model) error {
				config := m.Config()
				rows, err := loadSDMRows(x.in, dataset.Composition(x.composition), &config)
				if err != nil {
					return err
				}
				return m.AddSupport(c.Context(), rows.Data)
			})
		},
	}
	x.declare(c, "rows to add, .sdmdataset or .jsonl")
	c.Flags().StringVar(&x.composition, "composition", string(dataset.Auto), compositionFlag)
	return c
}

func newSDMSupportRelabel(s *settings) *cobra.Command {
	var x supportFlags
	c := &cobra.Command{
		Use:   "relabel --model M --in X --out M2",
		Short: "Give rows other labels: those that X has for their ids",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if x.in == "" {
				return errors.New("--in is needed: ids with their new labels")
			}
			return x.run(c, s, func(m *sdm.Model) error {
				d, err := dataset.Read(x.in)
				if err != nil {
					return err
				}
				return m.RelabelSupport(d.IDs(), d.Labels())
			})
		},
	}
	x.declare(c, "rows whose ids and labels count, .sdmdataset or .jsonl; features are not needed")
	return c
}

func newSDMSupportRemove(s *settings) *cobra.Command {
	var x supportFlags
	c := &cobra.Command{
		Use:   "remove --model M (--ids A,B,.. | --in X) --out M2",
		Short: "Remove rows by their ids",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if (x.in == "") == (x.ids == "") {
				return errors.New("either --ids or --in is needed")
			}
			return x.run(c, s, func(m *sdm.Model) error {
				ids := strings.Split(x.ids, ",")
				if x.in != "" {
					d, err := dataset.Read(x.in)
					if err != nil {
						return err
					}
					ids = d.IDs()
				}
				return m.RemoveSupport(ids...)
			})
		},
	}
	x.declare(c, "rows whose ids are removed, .sdmdataset or .jsonl")
	c.Flags().StringVar(&x.ids, "ids", "", "comma list of ids")
	return c
}

func newSDMRecalibrate(s *settings) *cobra.Command {
	var x supportFlags
	var calibration string
	var resolution float64
	c := &cobra.Command{
		Use:   "recalibrate --model M --out M2 [--calibration C] [--alpha-resolution R]",
		Short: "Find the regions anew: at another alpha resolution, or on other calibration rows and the support as it is",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			given := c.Flags().Changed("alpha-resolution")
			if calibration == "" && !given {
				return errors.New("--calibration, --alpha-resolution or both are needed")
			}
			if given {
				if _, err := sdm.Alphas(resolution); err != nil {
					return err
				}
			}
			return x.run(c, s, func(m *sdm.Model) error {
				var err error
				if calibration == "" {
					err = m.RecalibrateAt(resolution)
				} else {
					config := m.Config()
					var rows *sdmRows
					if rows, err = loadSDMRows(calibration, dataset.Composition(x.composition), &config); err == nil {
						err = m.Recalibrate(c.Context(), rows.Data, resolution)
					}
				}
				if err == nil {
					printRegions(c, m)
				}
				return err
			})
		},
	}
	f := c.Flags()
	f.StringVar(&x.model, "model", "", "model")
	f.StringVar(&x.out, "out", "", "where the calibrated model goes, published as a whole; it may be the one that is read")
	f.StringVar(&calibration, "calibration", "", "labelled rows that are not in the support, matched anew; without them the stored ones are taken as they are")
	f.Float64Var(&resolution, "alpha-resolution", 0, "step between the levels; without it as it was")
	f.StringVar(&x.composition, "composition", string(dataset.Auto), compositionFlag)
	return c
}
