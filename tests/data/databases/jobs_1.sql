CREATE TABLE items (
    job VARCHAR(32) NOT NULL,
    ordinal INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    url VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    segments INTEGER NOT NULL,
    PRIMARY KEY (job, ordinal)
);
INSERT INTO "items" VALUES('7a86591123df2aca24a89002',0,'a.txt','/a.txt','','','',0);
CREATE TABLE jobs (
    number INTEGER NOT NULL,
    id VARCHAR(32) NOT NULL,
    base VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    error VARCHAR NOT NULL,
    made FLOAT NOT NULL,
    finished FLOAT,
    PRIMARY KEY (number),
    UNIQUE (id)
);
INSERT INTO "jobs" VALUES(1,'7a86591123df2aca24a89002','base','queued','',1.7960750749257590771e+09,NULL);
CREATE TABLE leaving (
    job VARCHAR(32) NOT NULL,
    PRIMARY KEY (job)
);
CREATE INDEX ix_jobs_base ON jobs (base);
