/* SPDX-License-Identifier: Apache-2.0 */
/* The objects that the tests of this folder have: a route of two backends, of which one has endpoints. */
#ifndef TEST_SAVED_OBJECTS_H
#define TEST_SAVED_OBJECTS_H

#define SERVICE(name) \
	"apiVersion: v1\nkind: Service\nmetadata: {name: " name ", namespace: demo}\n" \
	"spec: {ports: [{name: http, port: 80}]}\n---\n"
#define ENDPOINTS_OF(name, address) \
	"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n" \
	"metadata: {name: " name "-1, namespace: demo, labels: {kubernetes.io/service-name: " name "}}\n" \
	"addressType: IPv4\nports: [{name: http, port: 8080}]\n" \
	"endpoints: [{addresses: [\"" address "\"], conditions: {ready: true}}]\n---\n"
#define PATH(path, name) \
	"      - {path: " path ", pathType: Prefix, backend: {service: {name: " name ", port: {number: 80}}}}\n"
#define INGRESS(host) \
	"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: shop, namespace: demo}\n" \
	"spec:\n  rules:\n  - host: " host "\n    http:\n      paths:\n" PATH("/", "web") PATH("/api", "api") "---\n"
#define OBJECTS(host) SERVICE("web") SERVICE("api") ENDPOINTS_OF("web", "10.0.0.1") ENDPOINTS_OF("api", "10.0.0.2") INGRESS(host)

#define POLICY(name) \
	"apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {name: " name ", namespace: demo}\nspec:\n" \
	"  targetRefs: [{group: '', kind: Service, name: " name "}]\n" \
	"  validation: {hostname: " name ".test, caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}\n---\n"
#define CAS "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ca, namespace: demo}\ndata: {ca.crt: \"" PEM_TEXT "\"}\n---\n"

#endif
