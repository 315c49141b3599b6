// Package sdm is a verification layer over the features of any model: Similarity-Distance-Magnitude activations
// (Schmaltz, arXiv 2502.20167 and 2509.12760) with the estimator of their second generation.
//
// Feature vectors go through two affine maps to an exemplar h' and to logits z'. Each prediction is held against the
// support, which are the training rows as the same maps place them: q is how many of the nearest rows share the
// prediction and were right before the first that does not, d tells how near the nearest lies among the distances that
// calibration rows had, and the logits are the magnitude. The output
//
//	SDM(z')_i = (2+q)^(d z'_i) / sum_c (2+q)^(d z'_c)
//
// is near certain only where all three agree. On calibration rows, thresholds are found such that among the rows that
// are accepted, at least a share alpha of every class is right. What is unlike anything seen is not accepted by any.
//
// Comparisons, ties and quantiles are those of version 1 of the format that models/sdm/artifact reads and writes, so a
// model gives the same answers in other programs that keep it.
package sdm
