CREATE TABLE assets (
    id VARCHAR(36) NOT NULL,
    sha256 VARCHAR(64) NOT NULL,
    size BIGINT NOT NULL,
    media_type VARCHAR NOT NULL,
    medium VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    segments INTEGER NOT NULL,
    recipe VARCHAR NOT NULL,
    captions JSON NOT NULL,
    PRIMARY KEY (id)
);
INSERT INTO "assets" VALUES('a29ae491-f35c-51e6-8175-d49f09c1b5c7','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',3,'image/jpeg','image','done',2,'recipe-1','["a dog"]');
CREATE TABLE exhibit_schema (
    version INTEGER NOT NULL,
    PRIMARY KEY (version)
);
INSERT INTO "exhibit_schema" VALUES(1);
CREATE TABLE files (
    path VARCHAR NOT NULL,
    asset_id VARCHAR(36),
    size BIGINT,
    mtime_ns BIGINT,
    reason VARCHAR NOT NULL,
    PRIMARY KEY (path)
);
INSERT INTO "files" VALUES('/media/a dog 100%25.jpg','a29ae491-f35c-51e6-8175-d49f09c1b5c7',3,5,'');
INSERT INTO "files" VALUES('/media/b.txt',NULL,NULL,NULL,'damaged');
CREATE INDEX ix_files_asset_id ON files (asset_id);
