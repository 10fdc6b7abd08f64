/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * For tests of the mirror: a small depot in a temporary directory, servers in front of
 * it, and requests that can be waited for.
 */
#pragma once

#include "cache/base/threads/mutex.h"
#include "cache/source.h"
#include "tests/support/catalog_builder.h"

#include <stdbool.h>
#include <sys/types.h>

#define DEPOT_FRAMES	40
#define DEPOT_FRAME_RAW 60000

struct depot {
	char dir[64];
	char url[80]; /* file:// */
	struct digest pack;
	uint64_t pack_bytes;
	struct catalog_frame frames[DEPOT_FRAMES];
	struct catalog_ref catalog;
	struct built_catalog *built; /* its bytes; no content of it is in the depot */
	uint8_t *raw;		     /* the frames' content, one after the other */
};

/* Asserts on failure. */
void depot_make(struct depot *d);
void depot_remove(struct depot *d);

struct server {
	pid_t pid;
	int port;
	char url[64];
};

/* bad_server in MODE before the depot. `only` and `after` may be NULL. */
void server_start(struct server *s, const char *dir, const char *mode, const char *only,
	const char *after);
/* The same for the first `count` requests only. */
void server_start_for(
	struct server *s, const char *dir, const char *mode, const char *count);
/* Serves well, but none before `hold` have come. `option` is "--connections" or "--served", which
 * limits how many are served at a time; NULL: all are. */
void server_start_crowd(struct server *s, const char *dir, const char *hold,
	const char *option, const char *count);
void server_stop(struct server *s);

/* A real nginx before the depot, which logs "STATUS REQUEST-BYTES RESPONSE-BYTES" lines to
 * `log`. False if none is installed. */
bool server_start_nginx(struct server *s, const char *dir, const char *log);

/* A request for some of the depot's frames that checks what it is given. */
struct waited {
	struct frame_request frames;
	struct catalog_request catalog;
	const struct depot *depot;
	size_t first;
	enum fetch_class class;

	struct mutex lock; /* guards what follows */
	struct condition has_ended;
	bool is_done;
	int error;
	unsigned int delivered;
	unsigned int refused;
	int receiver_error;    /* what deliver() answers instead of taking a good frame */
	unsigned int delay_us; /* how long each deliver() takes */
};

void wait_init(struct waited *w, const struct depot *d);
void wait_release(struct waited *w);

/* Start; end after at most `seconds` with what done() was given, or -1. */
void wait_fetch_frames(struct waited *w, struct source *source, size_t first,
	size_t count, int deadline_ms);
void wait_fetch_catalog(struct waited *w, struct source *source, int deadline_ms);
int wait_end(struct waited *w, int seconds);

/* How many frames it has been given until now. */
unsigned int wait_delivered(struct waited *w);
bool wait_is_done(struct waited *w);
