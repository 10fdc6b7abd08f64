/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Feeds every file of a directory to a fuzz target and holds it to the file's name. */
#include "cache/base/disk/io.h"
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define INPUT_MAX (16 * 1024 * 1024)

static int run(int dirfd, const char *name)
{
	AUTO_BUFFER struct buffer data = BUFFER_INIT(INPUT_MAX);

	if (io_read_file(dirfd, name, &data) < 0) {
		(void)fprintf(stderr, "cannot read %s\n", name);
		return 1;
	}
	/* of exactly its size, so that a sanitizer sees the first byte beyond */
	uint8_t *exact = malloc(data.len ? data.len : 1);

	if (!exact)
		return 1;
	if (data.len)
		memcpy(exact, data.data, data.len);
	LLVMFuzzerTestOneInput(exact, data.len);
	free(exact);
	bool is_sound = strncmp(name, "sound-", 6) == 0;
	bool should_fail = strncmp(name, "should-fail-", 12) == 0;

	if ((is_sound && !fuzz_was_accepted) || (should_fail && fuzz_was_accepted)) {
		(void)fprintf(stderr, "%s was %s\n", name,
			fuzz_was_accepted ? "accepted" : "refused");
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
	unsigned int inputs = 0;
	int wrong = 0;

	if (!dir) {
		(void)fprintf(stderr, "usage: %s CORPUS-DIRECTORY\n", argv[0]);
		return 2;
	}
	for (const struct dirent *d; (d = readdir(dir));) {
		if (d->d_name[0] == '.')
			continue;
		inputs++;
		wrong += run(dirfd(dir), d->d_name);
	}
	closedir(dir);
	(void)printf("%u inputs, %d wrong\n", inputs, wrong);
	return wrong || !inputs;
}
