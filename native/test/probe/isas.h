#define CR_ISAS(X) X(generic)
