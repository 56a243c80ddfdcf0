// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// environment gives a container's variables, as NAME=value and as a map.
func (p *pod) environment(spec *corev1.Container) ([]string, map[string]string, error) {
	values := map[string]string{}
	env := []string{"PATH=" + os.Getenv("PATH"), "HOSTNAME=" + p.obj.Name}
	set := func(name, value string) {
		values[name] = value
		env = append(env, name+"="+value)
	}
	for _, from := range spec.EnvFrom {
		data, err := p.envFrom(from)
		if err != nil {
			return nil, nil, err
		}
		for k, v := range data {
			set(from.Prefix+k, v)
		}
	}
	for _, e := range spec.Env {
		if e.ValueFrom == nil {
			set(e.Name, expand(e.Value, values))
			continue
		}
		value, isThere, err := p.valueFrom(e.ValueFrom)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", e.Name, err)
		}
		if isThere {
			set(e.Name, value)
		}
	}
	return env, values, nil
}

// expand replaces $(NAME) where there is such a variable, and $$ by $.
func expand(s string, values map[string]string) string {
	var out strings.Builder
	for len(s) > 0 {
		i := strings.IndexByte(s, '$')
		if i < 0 || i+1 == len(s) {
			break
		}
		out.WriteString(s[:i])
		s = s[i:]
		if s[1] == '$' {
			out.WriteByte('$')
			s = s[2:]
			continue
		}
		if end := strings.IndexByte(s, ')'); s[1] == '(' && end > 0 {
			if value, ok := values[s[2:end]]; ok {
				out.WriteString(value)
				s = s[end+1:]
				continue
			}
		}
		out.WriteByte('$')
		s = s[1:]
	}
	out.WriteString(s)
	return out.String()
}

func (p *pod) envFrom(from corev1.EnvFromSource) (map[string]string, error) {
	ctx, ns := context.Background(), p.obj.Namespace
	if r := from.ConfigMapRef; r != nil {
		m, err := p.agent.client.CoreV1().ConfigMaps(ns).Get(ctx, r.Name, metav1.GetOptions{})
		if err != nil {
			return nil, ifOptional(err, r.Optional)
		}
		return m.Data, nil
	}
	if r := from.SecretRef; r != nil {
		s, err := p.agent.client.CoreV1().Secrets(ns).Get(ctx, r.Name, metav1.GetOptions{})
		if err != nil {
			return nil, ifOptional(err, r.Optional)
		}
		out := map[string]string{}
		for k, v := range s.Data {
			out[k] = string(v)
		}
		return out, nil
	}
	return nil, nil
}

func ifOptional(err error, optional *bool) error {
	if errors.IsNotFound(err) && optional != nil && *optional {
		return nil
	}
	return err
}

func (p *pod) valueFrom(from *corev1.EnvVarSource) (value string, isThere bool, err error) {
	switch {
	case from.FieldRef != nil:
		value, err = p.field(from.FieldRef.FieldPath)
		return value, err == nil, err
	case from.ConfigMapKeyRef != nil:
		r := from.ConfigMapKeyRef
		data, err := p.envFrom(corev1.EnvFromSource{ConfigMapRef: &corev1.ConfigMapEnvSource{
			LocalObjectReference: r.LocalObjectReference, Optional: r.Optional}})
		return pick(data, r.Key, r.Optional, err)
	case from.SecretKeyRef != nil:
		r := from.SecretKeyRef
		data, err := p.envFrom(corev1.EnvFromSource{SecretRef: &corev1.SecretEnvSource{
			LocalObjectReference: r.LocalObjectReference, Optional: r.Optional}})
		return pick(data, r.Key, r.Optional, err)
	}
	return "", false, fmt.Errorf("this kind of value is not supported")
}

func pick(data map[string]string, key string, optional *bool, err error) (string, bool, error) {
	if err != nil {
		return "", false, err
	}
	value, ok := data[key]
	if !ok && (optional == nil || !*optional) {
		return "", false, fmt.Errorf("no key %q", key)
	}
	return value, ok, nil
}

func (p *pod) field(path string) (string, error) {
	switch path {
	case "metadata.name":
		return p.obj.Name, nil
	case "metadata.namespace":
		return p.obj.Namespace, nil
	case "metadata.uid":
		return string(p.obj.UID), nil
	case "spec.nodeName":
		return p.obj.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return p.obj.Spec.ServiceAccountName, nil
	case "status.hostIP", "status.hostIPs":
		return p.agent.address.Addr().String(), nil
	case "status.podIP":
		return p.sandbox.ip4.String(), nil
	case "status.podIPs":
		return p.sandbox.ip4.String() + "," + p.sandbox.ip6.String(), nil
	}
	for prefix, of := range map[string]map[string]string{
		"metadata.labels['": p.obj.Labels, "metadata.annotations['": p.obj.Annotations} {
		if key, ok := strings.CutPrefix(path, prefix); ok {
			return of[strings.TrimSuffix(key, "']")], nil
		}
	}
	return "", fmt.Errorf("no field %q", path)
}
