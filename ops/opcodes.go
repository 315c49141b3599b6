package ops

// Opcode identifies an operation across the native boundary. Numbers are those of credence_ops.h and are permanent; a
// test compares the two lists.
type Opcode uint32

// The operations; credence_ops.h states each one's inputs, outputs and attributes.
const (
	OpFill                     Opcode = 1
	OpCopy                     Opcode = 2
	OpGatherRows               Opcode = 3
	OpScatterAddRows           Opcode = 4
	OpResizeBilinear           Opcode = 5
	OpResizeBilinearGrad       Opcode = 6
	OpNeg                      Opcode = 10
	OpAbs                      Opcode = 11
	OpExp                      Opcode = 12
	OpLog                      Opcode = 13
	OpSqrt                     Opcode = 14
	OpRsqrt                    Opcode = 15
	OpSquare                   Opcode = 16
	OpReciprocal               Opcode = 17
	OpAffine                   Opcode = 18
	OpClamp                    Opcode = 19
	OpClampGrad                Opcode = 20
	OpSign                     Opcode = 21
	OpActivation               Opcode = 25
	OpActivationGrad           Opcode = 26
	OpActivationGradFromOutput Opcode = 27
	OpAdd                      Opcode = 30
	OpSub                      Opcode = 31
	OpMul                      Opcode = 32
	OpDiv                      Opcode = 33
	OpMaximum                  Opcode = 34
	OpMinimum                  Opcode = 35
	OpGreaterEqual             Opcode = 36
	OpEqual                    Opcode = 37
	OpReduceSum                Opcode = 40
	OpReduceMean               Opcode = 41
	OpReduceMax                Opcode = 42
	OpReduceMin                Opcode = 43
	OpReduceSumSquares         Opcode = 44
	OpArgMax                   Opcode = 45
	OpArgMin                   Opcode = 46
	OpSoftmax                  Opcode = 50
	OpSoftmaxGrad              Opcode = 51
	OpLogSoftmax               Opcode = 52
	OpLogSoftmaxGrad           Opcode = 53
	OpLogSumExp                Opcode = 54
	OpCrossEntropy             Opcode = 55
	OpCrossEntropyGrad         Opcode = 56
	OpMatmul                   Opcode = 60
	OpConv2d                   Opcode = 64
	OpConv2dGradInput          Opcode = 65
	OpConv2dGradWeight         Opcode = 66
	OpBatchNormTrain           Opcode = 70
	OpBatchNormGrad            Opcode = 71
	OpBatchNormEval            Opcode = 72
	OpRmsNorm                  Opcode = 73
	OpRmsNormGrad              Opcode = 74
	OpLayerNorm                Opcode = 75
	OpLayerNormGrad            Opcode = 76
	OpPairwiseSqdist           Opcode = 80
	OpPairwiseArgMin           Opcode = 81
	OpPairwiseCount            Opcode = 82
	OpMatch                    Opcode = 83
	OpMatchCodes               Opcode = 84
	OpMatchCoded               Opcode = 85
	OpCholesky                 Opcode = 90
	OpCholeskyGrad             Opcode = 91
	OpTriMatmul                Opcode = 92
	OpTriSolve                 Opcode = 93
	OpTriLogDet                Opcode = 94
	OpTriLogDetGrad            Opcode = 95
	OpTril                     Opcode = 96
	OpTrilSoftplus             Opcode = 97
	OpTrilSoftplusGrad         Opcode = 98
	OpRandomBits               Opcode = 100
	OpRandomUniform            Opcode = 101
	OpRandomNormal             Opcode = 102
	OpTopK                     Opcode = 110
	OpTopKGrad                 Opcode = 111
	OpAdam                     Opcode = 120
	OpLerp                     Opcode = 121
	OpClipScale                Opcode = 122
	OpAxpy                     Opcode = 123
	OpLinear                   Opcode = 130
	OpRotary                   Opcode = 131
	OpWriteRows                Opcode = 132
	OpAttention                Opcode = 133
	OpSparseFfn                Opcode = 134
	OpSparseFfnGated           Opcode = 135
	OpMaskedLinear             Opcode = 136
	OpSparseLinear             Opcode = 137
)
