//go:build !cgo || nohostblas

package hostblas

func register() Info {
	return Info{Detail: "gonum's Go code: this program was built without cgo, or with the tag nohostblas"}
}
