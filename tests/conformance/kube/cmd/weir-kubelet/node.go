// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// makeNodes creates n Nodes that are ready: node-1 in zone-1, and so on. All have the agent's address.
func (a *agent) makeNodes(ctx context.Context, n int) error {
	for i := 1; i <= n; i++ {
		name, zone := fmt.Sprintf("node-%d", i), fmt.Sprintf("zone-%d", i)
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			corev1.LabelHostname:       name,
			corev1.LabelTopologyZone:   zone,
			corev1.LabelTopologyRegion: "region",
			corev1.LabelOSStable:       "linux",
			corev1.LabelArchStable:     "amd64",
		}}}
		made, err := a.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
		if errors.IsAlreadyExists(err) {
			made, err = a.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		}
		if err != nil {
			return err
		}
		made.Status = a.nodeStatus()
		if made, err = a.client.CoreV1().Nodes().UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
			return err
		}
		a.nodes = append(a.nodes, made)
	}
	return nil
}

func (a *agent) nodeStatus() corev1.NodeStatus {
	room := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("64"),
		corev1.ResourceMemory: resource.MustParse("256Gi"),
		corev1.ResourcePods:   resource.MustParse("1000"),
	}
	return corev1.NodeStatus{
		Capacity:    room,
		Allocatable: room,
		Addresses:   []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: a.address.Addr().String()}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{
			KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(a.address.Port())}},
		Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady",
			LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now()}},
		NodeInfo: corev1.NodeSystemInfo{OperatingSystem: "linux", Architecture: "amd64", KubeletVersion: "v1.36.0-weir-rig"},
	}
}
