/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What `depotfs mount` was asked for, checked before anything is touched. */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/objects/bounds/eviction.h"

#include <stdbool.h>
#include <stddef.h>

#define MOUNT_TIMEOUT_DEFAULT_SEC 15 /* below the patience of SMB clients */

struct mount_options {
	char *urls;	  /* positional: URL[,URL...] */
	char *mountpoint; /* positional, made absolute */
	char *key;	  /* key=FILE */
	char *cache;	  /* cache=DIR */
	char *channel;
	char *fsname; /* NULL: derived from the repository and the mountpoint */
	char *cafile;
	char *sshkey;
	char *knownhosts;
	char *log;
	char *conf;	 /* conf=FILE */
	char **settings; /* "NAME=VALUE": what is not known here, up to a NULL; may be NULL */
	size_t setting_count;
	unsigned int timeout_sec;
	uint64_t cache_limit;		  /* bytes; 0: none */
	struct eviction_floor cache_free; /* what stays free on its disk */
	bool allow_other;
	bool is_open_none;	/* open=none; open=passthrough is the default */
	bool is_latency_normal; /* latency=normal; latency=low is the default */
	bool is_foreground;	/* -f */
	bool is_help;
};

/* Parses the verb's arguments. What background work is to do is told by settings, which the caller
 * checks: a NAME=VALUE that is unknown here is handed on. Returns 0, or -EINVAL after saying on stderr what is wrong and
 * what would be right. Release in both cases. */
int mount_options_parse(int argc, char **argv, struct mount_options *out) WARN_UNUSED;
void mount_options_release(struct mount_options *o);

/* The verb's help text. */
extern const char mount_options_help[];
