// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (p *pod) volumeDir(name string) string { return filepath.Join(p.dir, "volumes", name) }

// makeVolumes writes Secrets and ConfigMaps as they are now; they do not follow later changes.
func (p *pod) makeVolumes(ctx context.Context) error {
	for i := range p.obj.Spec.Volumes {
		v := &p.obj.Spec.Volumes[i]
		if v.HostPath != nil {
			if err := os.MkdirAll(filepath.Dir(p.volumeDir(v.Name)), 0o755); err != nil {
				return err
			}
			if err := os.Symlink(v.HostPath.Path, p.volumeDir(v.Name)); err != nil && !os.IsExist(err) {
				return err
			}
			continue
		}
		if err := os.MkdirAll(p.volumeDir(v.Name), 0o755); err != nil {
			return err
		}
		if err := p.fillVolume(ctx, v); err != nil {
			return fmt.Errorf("volume %s: %w", v.Name, err)
		}
	}
	return nil
}

func (p *pod) fillVolume(ctx context.Context, v *corev1.Volume) error {
	dir := p.volumeDir(v.Name)
	switch {
	case v.EmptyDir != nil:
		return nil
	case v.Secret != nil:
		return p.writeSecret(ctx, dir, v.Secret.SecretName, v.Secret.Items, v.Secret.Optional)
	case v.ConfigMap != nil:
		return p.writeConfigMap(ctx, dir, v.ConfigMap.Name, v.ConfigMap.Items, v.ConfigMap.Optional)
	case v.Projected != nil:
		for _, s := range v.Projected.Sources {
			var err error
			switch {
			case s.Secret != nil:
				err = p.writeSecret(ctx, dir, s.Secret.Name, s.Secret.Items, s.Secret.Optional)
			case s.ConfigMap != nil:
				err = p.writeConfigMap(ctx, dir, s.ConfigMap.Name, s.ConfigMap.Items, s.ConfigMap.Optional)
			default:
				err = fmt.Errorf("this kind of source is not supported")
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("this kind of volume is not supported")
}

func (p *pod) writeSecret(ctx context.Context, dir, name string, items []corev1.KeyToPath, optional *bool) error {
	s, err := p.agent.client.CoreV1().Secrets(p.obj.Namespace).Get(ctx, name, metav1.GetOptions{})
	if errors.IsNotFound(err) && optional != nil && *optional {
		return nil
	}
	if err != nil {
		return err
	}
	return writeKeys(dir, s.Data, items)
}

func (p *pod) writeConfigMap(ctx context.Context, dir, name string, items []corev1.KeyToPath, optional *bool) error {
	m, err := p.agent.client.CoreV1().ConfigMaps(p.obj.Namespace).Get(ctx, name, metav1.GetOptions{})
	if errors.IsNotFound(err) && optional != nil && *optional {
		return nil
	}
	if err != nil {
		return err
	}
	data := map[string][]byte{}
	for k, v := range m.Data {
		data[k] = []byte(v)
	}
	for k, v := range m.BinaryData {
		data[k] = v
	}
	return writeKeys(dir, data, items)
}

// writeKeys writes all keys, or only the items, each to its path.
func writeKeys(dir string, data map[string][]byte, items []corev1.KeyToPath) error {
	if items == nil {
		for k := range data {
			items = append(items, corev1.KeyToPath{Key: k, Path: k})
		}
	}
	for _, it := range items {
		value, ok := data[it.Key]
		if !ok {
			return fmt.Errorf("no key %q", it.Key)
		}
		path := filepath.Join(dir, it.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, value, 0o644); err != nil {
			return err
		}
	}
	return nil
}
