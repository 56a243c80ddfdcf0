/* SPDX-License-Identifier: Apache-2.0 */
#include "system_ca.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/x509.h>

#include "base/log.h"
#include "translate/certificate.h"

#define BUNDLE_MAX_BYTES (4u << 20) /* in PEM, with comments */

struct system_ca {
	char *path;	  /* NULL: one of the usual ones */
	struct stat seen; /* the file that was read last; st_ino 0: none */
	struct certificate *trust;
	char fault[512]; /* "": there is none */
};

struct system_ca *system_ca_create(const char *path)
{
	struct system_ca *s = calloc(1, sizeof(*s));

	if (s && path)
		s->path = strdup(path);
	if (!s || (path && !s->path)) {
		perror("weir-ctrl: memory for CA certificates");
		abort();
	}
	return s;
}

void system_ca_destroy(struct system_ca *s)
{
	if (!s)
		return;
	certificate_put(s->trust);
	free(s->path);
	free(s);
}

/* The first that is there; NULL: none is, *tried is where one was expected first. */
static const char *find(const struct system_ca *s, const char **tried, struct stat *st)
{
	const char *const usual[] = {X509_get_default_cert_file(), "/etc/ssl/certs/ca-certificates.crt",
				     "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem", "/etc/ssl/ca-bundle.pem"};
	const char *const *paths = s->path ? (const char *const *)&s->path : usual;
	const size_t n = s->path ? 1 : sizeof(usual) / sizeof(*usual);

	*tried = s->path ? s->path : "/etc/ssl/certs/ca-certificates.crt";
	for (size_t i = 0; i < n; i++)
		if (stat(paths[i], st) == 0)
			return paths[i];
	return NULL;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* NULL, with errno */
static char *read_file(const char *path, size_t *n)
{
	FILE *f = fopen(path, "re");
	char *text = f ? malloc(BUNDLE_MAX_BYTES + 1) : NULL;

	*n = text ? fread(text, 1, BUNDLE_MAX_BYTES + 1, f) : 0;
	if (text && (ferror(f) || *n > BUNDLE_MAX_BYTES)) {
		errno = *n > BUNDLE_MAX_BYTES ? EFBIG : EIO;
		free(text);
		text = NULL;
	}
	if (f)
		fclose(f);
	return text;
}

static struct certificate *load(struct system_ca *s, const char *path)
{
	struct certificate *c;
	size_t n;
	char *text = read_file(path, &n);

	if (!text) {
		snprintf(s->fault, sizeof(s->fault), "%.400s cannot be read: %s", path, strerror(errno));
		return NULL;
	}
	c = certificate_read_trust(text, n);
	if (!c)
		snprintf(s->fault, sizeof(s->fault), "%.400s has no certificates in PEM, one that cannot be read, or more than 1 MiB",
			 path);
	free(text);
	return c;
}

static bool certificates_differ(const struct certificate *a, const struct certificate *b)
{
	return !a || !b ? a != b : certificate_compare_ids(&a->blob->id, &b->blob->id) != 0;
}

bool system_ca_look(struct system_ca *s)
{
	struct stat st = {.st_ino = 0};
	const char *tried;
	const char *path = find(s, &tried, &st);
	struct certificate *was = s->trust;
	char before[sizeof(s->fault)];
	bool differs;

	if (path && is_same_file(&s->seen, &st))
		return false;
	memcpy(before, s->fault, sizeof(before));
	s->fault[0] = 0;
	s->seen = path ? st : (struct stat){.st_ino = 0};
	if (!path)
		snprintf(s->fault, sizeof(s->fault), "%.400s is not there", tried);
	s->trust = path ? load(s, path) : NULL;
	differs = certificates_differ(was, s->trust) || strcmp(before, s->fault) != 0;
	certificate_put(was);
	if (differs && s->trust)
		log_info("the CA certificates of the machine are those of %s", path);
	else if (differs)
		log_info("the machine has no CA certificates: %s", s->fault);
	return differs;
}

const struct certificate *system_ca_trust(const struct system_ca *s)
{
	return s->trust;
}

const char *system_ca_fault(const struct system_ca *s)
{
	return s->trust ? NULL : s->fault;
}
