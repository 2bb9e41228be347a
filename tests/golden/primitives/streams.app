=== CoreEtlJob/web/joined
{
  "metadata": {
    "name": "dcp-a1-1",
    "namespace": "web",
    "labels": {
      "dcp/attempt": "1",
      "dcp/domain": "web",
      "dcp/execution": "a1",
      "dcp/workload": "joined"
    }
  },
  "spec": {
    "runtimeVersions": {
      "sparkVersion": "4.3",
      "scalaVersion": "2.13",
      "jdkVersion": "17"
    },
    "pyFiles": "local:///opt/dcp/job/main.py",
    "driverArgs": [
      "/opt/dcp/job/job.json"
    ],
    "sparkConf": {
      "spark.dcp.modules": "sql-kafka-0-10,avro",
      "spark.driver.cores": "1",
      "spark.driver.extraJavaOptions": "-XX:+ExitOnOutOfMemoryError",
      "spark.driver.memory": "1g",
      "spark.eventLog.compress": "false",
      "spark.eventLog.logStageExecutorMetrics": "true",
      "spark.eventLog.rolling.enabled": "true",
      "spark.eventLog.rolling.maxFileSize": "16m",
      "spark.executor.cores": "1",
      "spark.executor.instances": "1",
      "spark.executor.memory": "1g",
      "spark.executor.metrics.pollingInterval": "1s",
      "spark.kubernetes.container.image": "spark-platform:4.3-latest",
      "spark.sql.shuffle.partitions": "16",
      "spark.sql.streaming.metricsEnabled": "true",
      "spark.sql.streaming.minBatchesToRetain": "50",
      "spark.sql.streaming.stateStore.providerClass": "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
    },
    "deploymentMode": "ClusterMode",
    "applicationTolerations": {
      "restartConfig": {
        "restartPolicy": "Never"
      },
      "applicationTimeoutConfig": {
        "driverStartTimeoutMillis": 900000,
        "forceTerminationGracePeriodMillis": 300000
      },
      "ttlAfterStopMillis": 86400000
    },
    "driverSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "web",
            "dcp/execution": "a1",
            "dcp/workload": "joined"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark",
              "volumeMounts": [
                {
                  "mountPath": "/opt/dcp/job",
                  "name": "dcp-job",
                  "readOnly": true
                }
              ]
            }
          ],
          "volumes": [
            {
              "configMap": {
                "name": "dcp-a1-1-job"
              },
              "name": "dcp-job"
            }
          ]
        }
      }
    },
    "executorSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "web",
            "dcp/execution": "a1",
            "dcp/workload": "joined"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark"
            }
          ]
        }
      }
    },
    "configMapSpecs": [
      {
        "name": "dcp-a1-1-job",
        "data": {
          "job.json": "{\"checkpoint\":\"s3://lake/checkpoints/joined\",\"name\":\"joined\",\"stream\":{\"deduplicate\":[{\"columns\":[\"b\"],\"source\":\"clicks\",\"withinWatermark\":true}],\"outputMode\":\"append\",\"query\":\"SELECT c.b, v.seen, to_json(c.a) AS value\\nFROM clicks c\\nLEFT JOIN views v ON c.b = v.b AND v.seen BETWEEN c.ts AND c.ts + INTERVAL 1 HOUR\\nJOIN users u ON u.id = c.b\\n\",\"sink\":{\"kafka\":{\"format\":\"raw\",\"key\":\"b\",\"servers\":\"kafka:9092\",\"topic\":\"joined\"}},\"sources\":{\"clicks\":{\"kafka\":{\"avroSchema\":\"schemas/click.avsc\",\"failOnDataLoss\":false,\"format\":\"avro\",\"maxOffsetsPerTrigger\":10000,\"options\":{\"kafka.sasl.jaas.config\":\"Module required password=\\\"${secret.kafka/password}\\\";\",\"kafka.security.protocol\":\"SASL_SSL\"},\"schema\":[{\"name\":\"b\",\"type\":\"string\"},{\"name\":\"a\",\"type\":\"struct<x:int,y:array<string>>\"},{\"name\":\"ts\",\"type\":\"timestamp\"}],\"servers\":\"kafka:9092\",\"startingOffsets\":\"latest\",\"static\":false,\"topics\":[\"clicks-eu\",\"clicks-us\"]}},\"users\":{\"table\":{\"name\":\"lake.users\",\"options\":{\"branch\":\"main\"},\"stream\":false}},\"views\":{\"files\":{\"cleanSource\":{\"archive\":\"s3://lake/done\"},\"format\":\"json\",\"latestFirst\":false,\"maxFilesPerTrigger\":100,\"path\":\"s3://lake/views\",\"schema\":[{\"name\":\"b\",\"type\":\"string\"},{\"name\":\"seen\",\"type\":\"timestamp\"}],\"static\":false}}},\"state\":{\"minBatchesToRetain\":50,\"partitions\":16,\"store\":\"rocksdb\"},\"watermark\":[{\"column\":\"ts\",\"delay\":\"10m\",\"source\":\"clicks\"},{\"column\":\"seen\",\"delay\":\"1h\",\"source\":\"views\"}]},\"trigger\":{\"every\":\"30s\"}}"
        }
      }
    ]
  }
}
=== CoreEtlJob/web/nightly-files
{
  "metadata": {
    "name": "dcp-a1-1",
    "namespace": "web",
    "labels": {
      "dcp/attempt": "1",
      "dcp/domain": "web",
      "dcp/execution": "a1",
      "dcp/workload": "nightly-files"
    }
  },
  "spec": {
    "runtimeVersions": {
      "sparkVersion": "4.3",
      "scalaVersion": "2.13",
      "jdkVersion": "17"
    },
    "pyFiles": "local:///opt/dcp/job/main.py",
    "driverArgs": [
      "/opt/dcp/job/job.json"
    ],
    "sparkConf": {
      "spark.driver.cores": "1",
      "spark.driver.extraJavaOptions": "-XX:+ExitOnOutOfMemoryError",
      "spark.driver.memory": "1g",
      "spark.executor.cores": "1",
      "spark.executor.instances": "1",
      "spark.executor.memory": "1g",
      "spark.kubernetes.container.image": "spark-platform:4.3-latest",
      "spark.sql.streaming.metricsEnabled": "true"
    },
    "deploymentMode": "ClusterMode",
    "applicationTolerations": {
      "restartConfig": {
        "restartPolicy": "Never"
      },
      "applicationTimeoutConfig": {
        "driverStartTimeoutMillis": 900000,
        "forceTerminationGracePeriodMillis": 60000
      },
      "ttlAfterStopMillis": 86400000
    },
    "driverSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "web",
            "dcp/execution": "a1",
            "dcp/workload": "nightly-files"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark",
              "volumeMounts": [
                {
                  "mountPath": "/opt/dcp/job",
                  "name": "dcp-job",
                  "readOnly": true
                }
              ]
            }
          ],
          "volumes": [
            {
              "configMap": {
                "name": "dcp-a1-1-job"
              },
              "name": "dcp-job"
            }
          ]
        }
      }
    },
    "executorSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "web",
            "dcp/execution": "a1",
            "dcp/workload": "nightly-files"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark"
            }
          ]
        }
      }
    },
    "configMapSpecs": [
      {
        "name": "dcp-a1-1-job",
        "data": {
          "job.json": "{\"checkpoint\":\"/data/checkpoints/nightly-files\",\"name\":\"nightly-files\",\"stream\":{\"checkpoint\":\"/data/checkpoints/nightly-files\",\"outputMode\":\"append\",\"query\":\"SELECT value FROM lines WHERE value <> ''\",\"sink\":{\"files\":{\"format\":\"parquet\",\"path\":\"/data/out\"}},\"sources\":{\"lines\":{\"files\":{\"cleanSource\":{\"delete\":{}},\"format\":\"text\",\"latestFirst\":false,\"path\":\"/data/in\",\"static\":false}}}},\"trigger\":null}"
        }
      }
    ]
  }
}
=== CoreEtlJob/web/program
{
  "metadata": {
    "name": "dcp-a1-1",
    "namespace": "web",
    "labels": {
      "dcp/attempt": "1",
      "dcp/domain": "web",
      "dcp/execution": "a1",
      "dcp/workload": "program"
    }
  },
  "spec": {
    "runtimeVersions": {
      "sparkVersion": "4.3",
      "scalaVersion": "2.13",
      "jdkVersion": "17"
    },
    "pyFiles": "jobs/stream.py,lib/common.zip",
    "sparkConf": {
      "spark.archives": "envs/web.tar.gz#environment",
      "spark.driver.cores": "1",
      "spark.driver.extraJavaOptions": "-XX:+ExitOnOutOfMemoryError",
      "spark.driver.memory": "1g",
      "spark.eventLog.compress": "false",
      "spark.eventLog.rolling.enabled": "true",
      "spark.eventLog.rolling.maxFileSize": "16m",
      "spark.executor.cores": "1",
      "spark.executor.instances": "1",
      "spark.executor.memory": "1g",
      "spark.kubernetes.container.image": "spark-platform:4.3-latest",
      "spark.pyspark.python": "/usr/bin/python3"
    },
    "deploymentMode": "ClusterMode",
    "applicationTolerations": {
      "restartConfig": {
        "restartPolicy": "Never"
      },
      "applicationTimeoutConfig": {
        "driverStartTimeoutMillis": 900000,
        "forceTerminationGracePeriodMillis": 120000
      },
      "ttlAfterStopMillis": 86400000
    },
    "driverSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "web",
            "dcp/execution": "a1",
            "dcp/workload": "program"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark"
            }
          ]
        }
      }
    },
    "executorSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "web",
            "dcp/execution": "a1",
            "dcp/workload": "program"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark"
            }
          ]
        }
      }
    }
  }
}
