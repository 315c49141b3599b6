// Package probpsenn holds probabilistic prototype-based self-explainable classifiers: Vadillo, Santana, Lozano and
// Kwiatkowska, "Uncertainty-Aware Explanations Through Probabilistic Self-Explainable Neural Networks", arXiv 2403.13740.
//
// An encoder maps an input to a latent vector z. Each class is explained by a probability distribution over latent
// vectors, its prototype; samples of it, decoded, are pictures of what the model takes the class to look like. Squared
// distances from z to samples of every prototype, through one linear layer, give the class probabilities; averaging over
// the samples tells how sure they are, and where z lies under the distributions tells whether the input is like
// anything seen in training.
//
// Models over somebody else's features have the network "features": they are trained on vectors, and an Encoder in the
// options of a predictor makes the vectors of whatever it takes. The other way round, Prediction.Latent and
// Scores.Reconstruction are this model's own latent vectors and reconstruction errors, and an Extractor makes features of
// them for other models.
package probpsenn
