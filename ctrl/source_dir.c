/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory of manifests, followed with inotify: see source_dir.h. An event
 * names a file and the file is read as it is now; whatever an event cannot
 * tell (an overflow, the directory itself moved, a symbolic link like the
 * "..data" of a mounted ConfigMap changed) leads to a rescan of everything.
 * The parent is watched too, so that a directory that is replaced is found again.
 */
#include "source_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

#define MAX_FILE_BYTES (300u << 20) /* the store refuses, and names, what is larger than its own limit */
#define DIR_EVENTS \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_DELETE_SELF | IN_MOVE_SELF)
#define PARENT_EVENTS (IN_MOVED_TO | IN_CREATE)

struct source_dir {
	struct store *store;
	char *path;
	char *parent;
	char *base; /* name within parent */
	int fd;
	int dir_watch;    /* -1: the directory is not there now */
	int parent_watch; /* -1: parent cannot be watched */
	char **names;     /* files given to the store, by name */
	size_t n_names, cap_names;
};

/* ---- the names that the store has from us ---- */

static size_t name_position(const struct source_dir *d, const char *name, bool *found)
{
	size_t lo = 0;
	size_t hi = d->n_names;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(d->names[mid], name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*found = lo < d->n_names && strcmp(d->names[lo], name) == 0;
	return lo;
}

static bool name_add(struct source_dir *d, const char *name)
{
	bool found;
	size_t at = name_position(d, name, &found);
	char *copy;

	if (found)
		return true;
	if (d->n_names == d->cap_names) {
		size_t cap = d->cap_names ? d->cap_names * 2 : 64;
		char **names = realloc(d->names, cap * sizeof(*names));

		if (!names)
			return false;
		d->names = names;
		d->cap_names = cap;
	}
	copy = strdup(name);
	if (!copy)
		return false;
	memmove(d->names + at + 1, d->names + at, (d->n_names - at) * sizeof(*d->names));
	d->names[at] = copy;
	d->n_names++;
	return true;
}

static bool is_manifest(const char *name)
{
	const char *dot = strrchr(name, '.');

	return name[0] != '.' && dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

/* ---- one file ---- */

static uint64_t forget(struct source_dir *d, const char *name)
{
	char path[PATH_MAX];
	bool found;
	size_t at = name_position(d, name, &found);

	if (!found)
		return 0;
	snprintf(path, sizeof(path), "%s/%s", d->path, name);
	free(d->names[at]);
	memmove(d->names + at, d->names + at + 1, (d->n_names - at - 1) * sizeof(*d->names));
	d->n_names--;
	return store_forget_file(d->store, path);
}

/* All bytes of a regular file; NULL and errno. */
static char *read_file(const char *path, size_t *n)
{
	struct stat st;
	char *data = NULL;
	size_t cap = 0;
	ssize_t got;
	int err = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a FIFO must not hold us up */

	*n = 0;
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) != 0)
		err = errno;
	else if (!S_ISREG(st.st_mode))
		err = EINVAL;
	while (!err) {
		if (*n == cap) {
			char *more;

			cap = cap ? cap * 2 : (size_t)(st.st_size < MAX_FILE_BYTES ? st.st_size : MAX_FILE_BYTES) + 1;
			more = cap > 2 * (size_t)MAX_FILE_BYTES ? NULL : realloc(data, cap);
			if (!more) {
				err = cap > 2 * (size_t)MAX_FILE_BYTES ? EFBIG : ENOMEM;
				break;
			}
			data = more;
		}
		got = read(fd, data + *n, cap - *n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			err = errno;
		if (got <= 0)
			break;
		*n += (size_t)got;
	}
	close(fd);
	if (err) {
		free(data);
		errno = err;
		return NULL;
	}
	return data;
}

/* Reads a file as it is now. What cannot be read for another reason than that it is gone keeps its last state. */
static uint64_t load(struct source_dir *d, const char *name)
{
	char path[PATH_MAX];
	uint64_t mask;
	char *data;
	size_t n;

	if (snprintf(path, sizeof(path), "%s/%s", d->path, name) >= (int)sizeof(path))
		return 0;
	data = read_file(path, &n);
	if (!data && (errno == ENOENT || errno == ENOTDIR || errno == EISDIR || errno == EINVAL || errno == ELOOP))
		return forget(d, name);
	if (!data || !name_add(d, name)) {
		log_error("%s: %s; what it said before stays", path, strerror(errno));
		free(data);
		return 0;
	}
	mask = store_load_yaml(d->store, path, data, n);
	explicit_bzero(data, n); /* there may have been Secrets in it */
	free(data);
	return mask;
}

/* ---- the directory ---- */

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_names(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

/* The manifests of the directory, sorted; -errno. */
static int list_dir(const char *path, char ***out, size_t *n)
{
	struct dirent *e;
	size_t cap = 0;
	int err = 0;
	DIR *dir = opendir(path);

	*out = NULL;
	*n = 0;
	if (!dir)
		return -errno;
	while (errno = 0, (e = readdir(dir)) != NULL) {
		char **names = *out;

		if (!is_manifest(e->d_name))
			continue;
		if (*n == cap) {
			cap = cap ? cap * 2 : 64;
			names = realloc(*out, cap * sizeof(*names));
			if (!names) {
				errno = ENOMEM;
				break;
			}
			*out = names;
		}
		names[*n] = strdup(e->d_name);
		if (!names[*n])
			break;
		(*n)++;
	}
	err = errno;
	closedir(dir);
	if (err) {
		free_names(*out, *n);
		return -err;
	}
	if (*n)
		qsort(*out, *n, sizeof(**out), compare_names);
	return 0;
}

static int rescan(struct source_dir *d, uint64_t *mask)
{
	char **names;
	size_t n;
	int rc = list_dir(d->path, &names, &n);

	if (rc != 0)
		return rc;
	for (size_t i = 0; i < n; i++)
		*mask |= load(d, names[i]);
	for (size_t i = d->n_names; i-- > 0;)
		if (n == 0 || !bsearch(&d->names[i], names, n, sizeof(*names), compare_names))
			*mask |= forget(d, d->names[i]);
	free_names(names, n);
	return 0;
}

/* Watches first and reads afterwards, so that no change falls between. */
static int open_dir(struct source_dir *d, uint64_t *mask)
{
	int rc;

	d->dir_watch = inotify_add_watch(d->fd, d->path, DIR_EVENTS | IN_ONLYDIR);
	if (d->dir_watch < 0)
		return -errno;
	rc = rescan(d, mask);
	return rc;
}

static int split_path(struct source_dir *d, const char *path)
{
	char *a = strdup(path);
	char *b = strdup(path);
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		n--;
	d->path = strndup(path, n);
	d->parent = a ? strdup(dirname(a)) : NULL;
	d->base = b ? strdup(basename(b)) : NULL;
	free(a);
	free(b);
	return d->path && d->parent && d->base ? 0 : -ENOMEM;
}

struct source_dir *source_dir_create(const char *path, struct store *s)
{
	struct source_dir *d = calloc(1, sizeof(*d));
	uint64_t mask = 0;
	int rc;

	if (!d)
		return NULL;
	d->store = s;
	d->dir_watch = d->parent_watch = -1;
	d->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	rc = d->fd < 0 ? -errno : split_path(d, path);
	if (rc == 0) {
		d->parent_watch = inotify_add_watch(d->fd, d->parent, PARENT_EVENTS | IN_ONLYDIR);
		rc = open_dir(d, &mask);
	}
	if (rc != 0) {
		log_error("%s: %s", path, strerror(-rc));
		source_dir_destroy(d);
		errno = -rc;
		return NULL;
	}
	return d;
}

void source_dir_destroy(struct source_dir *d)
{
	if (!d)
		return;
	if (d->fd >= 0)
		close(d->fd);
	free_names(d->names, d->n_names);
	free(d->path);
	free(d->parent);
	free(d->base);
	free(d);
}

int source_dir_fd(const struct source_dir *d)
{
	return d->fd;
}

/* What a batch of events asks for. */
struct todo {
	bool rescan;
	bool reopen;
	char **names;
	size_t n, cap;
};

/* A new file that its writer still has open is read when it is closed; a link never is. */
static bool is_link(const struct source_dir *d, const char *name)
{
	char path[PATH_MAX];
	struct stat st;

	if (snprintf(path, sizeof(path), "%s/%s", d->path, name) >= (int)sizeof(path) || lstat(path, &st) != 0)
		return false;
	return S_ISLNK(st.st_mode) || st.st_nlink > 1;
}

static void take_name(struct todo *t, const char *name)
{
	if (t->n > 0 && strcmp(t->names[t->n - 1], name) == 0)
		return;
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 64;
		char **names = realloc(t->names, cap * sizeof(*names));

		if (!names) {
			t->rescan = true;
			return;
		}
		t->names = names;
		t->cap = cap;
	}
	t->names[t->n] = strdup(name);
	if (t->names[t->n])
		t->n++;
	else
		t->rescan = true;
}

static void take_event(struct source_dir *d, struct todo *t, const struct inotify_event *e)
{
	const char *name = e->len ? e->name : "";

	if (e->mask & IN_Q_OVERFLOW) {
		t->rescan = true;
	} else if (e->wd == d->parent_watch && e->wd != d->dir_watch) {
		if ((e->mask & PARENT_EVENTS) && strcmp(name, d->base) == 0)
			t->reopen = true;
	} else if (e->wd != d->dir_watch) {
		return;
	} else if (e->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) {
		if (!(e->mask & IN_IGNORED))
			log_warn("%s has gone; what it said stays until it is back", d->path);
		t->reopen = true;
	} else if (strncmp(name, "..", 2) == 0) {
		t->rescan = true; /* a ConfigMap: all files are links through "..data" */
	} else if (is_manifest(name) && (!(e->mask & IN_CREATE) || is_link(d, name))) {
		take_name(t, name);
	}
}

static void read_events(struct source_dir *d, struct todo *t)
{
	char buf[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n;

	while ((n = read(d->fd, buf, sizeof(buf))) > 0)
		for (const char *p = buf; p < buf + n;) {
			const struct inotify_event *e = (const struct inotify_event *)(const void *)p;

			take_event(d, t, e);
			p += sizeof(*e) + e->len;
		}
}

uint64_t source_dir_poll(struct source_dir *d)
{
	struct todo t = {0};
	uint64_t mask = 0;
	int rc = 0;

	read_events(d, &t);
	if (t.reopen) {
		if (d->dir_watch >= 0)
			inotify_rm_watch(d->fd, d->dir_watch); /* of the directory that once had this name */
		open_dir(d, &mask);                            /* not there: the parent's watch will tell */
	} else if (t.rescan) {
		rc = rescan(d, &mask);
		if (rc != 0)
			log_error("%s: %s; what it said before stays", d->path, strerror(-rc));
	} else if (t.n) {
		qsort(t.names, t.n, sizeof(*t.names), compare_names);
		for (size_t i = 0; i < t.n; i++)
			if (i == 0 || strcmp(t.names[i], t.names[i - 1]) != 0)
				mask |= load(d, t.names[i]);
	}
	free_names(t.names, t.n);
	return mask;
}
