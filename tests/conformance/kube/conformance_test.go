// SPDX-License-Identifier: Apache-2.0

// The official conformance suite of the Gateway API, as a test of this module: go.mod says which version it is.
package kube_test

import (
	"flag"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/gateway-api/conformance/tests"
)

var only = flag.String("only", "", "comma-separated names of tests, run whatever is claimed; the others are skipped")

func TestConformance(t *testing.T) {
	options := conformance.DefaultOptions(t)
	if *only != "" {
		names := strings.Split(*only, ",")
		for _, test := range tests.ConformanceTests {
			if i := slices.Index(names, test.ShortName); i >= 0 {
				names = slices.Delete(names, i, i+1)
				options.SupportedFeatures = append(options.SupportedFeatures, test.Features...)
			} else {
				options.SkipTests = append(options.SkipTests, test.ShortName)
			}
		}
		if len(names) > 0 {
			t.Fatalf("the suite has no test %s", strings.Join(names, ", "))
		}
	}
	conformance.RunConformanceWithOptions(t, options)
}
