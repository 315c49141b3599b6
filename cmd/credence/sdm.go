package main

import "github.com/spf13/cobra"

// newSDM is the group of commands on SDM models and their data.
func newSDM(s *settings) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "sdm",
		Short: "Verify the predictions of any model by similarity, distance and magnitude",
		Long: "sdm takes feature vectors of any model and gives predictions with a probability, a decision to accept or reject, and\n" +
			"the nearest training examples as the reason. Data are bundles (NAME.sdmdataset) or JSON Lines (NAME.jsonl), models are\n" +
			"directories NAME.sdmkitmodel; both are forms that other SDM software reads and writes.",
	})
	c.AddCommand(newSDMTrain(s), newSDMScore(s), newSDMEvaluate(s), newSDMRecalibrate(s), newSDMSupport(s), newSDMConvert(), newSDMInspect(), newSDMValidate())
	return c
}
