package render

import (
	"maps"
	"slices"
)

// FuncNames are the functions that templates may call, for the test of the documents.
func FuncNames() []string { return slices.Sorted(maps.Keys(funcs(New(nil)))) }
