=== CoreEtlJob/logistics/large
{
  "metadata": {
    "name": "dcp-a1-1",
    "namespace": "logistics",
    "labels": {
      "dcp/attempt": "1",
      "dcp/domain": "logistics",
      "dcp/execution": "a1",
      "dcp/workload": "large",
      "tier": "gold"
    }
  },
  "spec": {
    "runtimeVersions": {
      "sparkVersion": "4.0",
      "scalaVersion": "2.13",
      "jdkVersion": "17"
    },
    "mainClass": "org.apache.spark.sql.connect.service.SparkConnectServer",
    "sparkConf": {
      "spark.connect.session.manager.defaultSessionTimeout": "90000ms",
      "spark.dcp.connect": "true",
      "spark.driver.cores": "1",
      "spark.driver.extraJavaOptions": "-XX:+ExitOnOutOfMemoryError",
      "spark.driver.memory": "4g",
      "spark.dynamicAllocation.enabled": "true",
      "spark.dynamicAllocation.initialExecutors": "1",
      "spark.dynamicAllocation.maxExecutors": "8",
      "spark.dynamicAllocation.minExecutors": "1",
      "spark.dynamicAllocation.shuffleTracking.enabled": "true",
      "spark.executor.cores": "1",
      "spark.executor.memory": "8g",
      "spark.jars.packages": "org.apache.iceberg:iceberg-spark-runtime-4.0_2.13:1.10.0",
      "spark.kubernetes.container.image": "spark-platform:4.0-latest",
      "spark.sql.ansi.enabled": "false",
      "spark.sql.session.localRelationSizeLimit": "3221225472"
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
      "instanceConfig": {
        "initExecutors": 1,
        "minExecutors": 1,
        "maxExecutors": 8
      },
      "ttlAfterStopMillis": 7200000
    },
    "driverSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "logistics",
            "dcp/execution": "a1",
            "dcp/workload": "large",
            "tier": "gold"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark"
            }
          ],
          "serviceAccountName": "sessions"
        }
      }
    },
    "executorSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "logistics",
            "dcp/execution": "a1",
            "dcp/workload": "large",
            "tier": "gold"
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
=== CoreEtlJob/logistics/small
{
  "metadata": {
    "name": "dcp-a1-1",
    "namespace": "logistics",
    "labels": {
      "dcp/attempt": "1",
      "dcp/domain": "logistics",
      "dcp/execution": "a1",
      "dcp/workload": "small"
    }
  },
  "spec": {
    "runtimeVersions": {
      "sparkVersion": "4.1",
      "scalaVersion": "2.13",
      "jdkVersion": "17"
    },
    "mainClass": "org.apache.spark.sql.connect.service.SparkConnectServer",
    "sparkConf": {
      "spark.connect.session.manager.defaultSessionTimeout": "3600000ms",
      "spark.dcp.connect": "true",
      "spark.driver.cores": "1",
      "spark.driver.extraJavaOptions": "-XX:+ExitOnOutOfMemoryError",
      "spark.driver.memory": "1g",
      "spark.executor.cores": "1",
      "spark.executor.instances": "1",
      "spark.executor.memory": "1g",
      "spark.kubernetes.container.image": "spark-platform:4.1-latest",
      "spark.sql.session.localRelationSizeLimit": "3221225472"
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
            "dcp/domain": "logistics",
            "dcp/execution": "a1",
            "dcp/workload": "small"
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
            "dcp/domain": "logistics",
            "dcp/execution": "a1",
            "dcp/workload": "small"
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
