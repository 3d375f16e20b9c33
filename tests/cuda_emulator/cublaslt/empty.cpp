// cuBLAS opens cublasLt first, so weft does too; it calls nothing of it.
extern "C" int cublasLtIsEmulated() { return 1; }
