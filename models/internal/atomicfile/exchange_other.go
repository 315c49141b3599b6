//go:build !linux

package atomicfile

func exchange(temp, target string) error { return exchangeByRename(temp, target) }
