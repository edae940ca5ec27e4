CREATE TABLE tastes (
    user VARCHAR(200) NOT NULL,
    since FLOAT NOT NULL,
    likes INTEGER NOT NULL,
    mean BLOB NOT NULL,
    revision VARCHAR NOT NULL,
    PRIMARY KEY (user)
);
INSERT INTO "tastes" VALUES('ann',1.79607507556363940235e+09,0,X'','r');
